//! W3C Trace Context (level 2): the trace of a caller, and its headers for
//! services.
//!
//! <https://www.w3.org/TR/trace-context-2/>

use std::str::FromStr;

use base16ct::lower;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use opentelemetry::trace::{SpanId, TraceId, TraceState};

/// The header that names the trace and the span that the caller is in.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header with further data of tracing systems.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of version 00: `00-` trace id `-` span id `-` flags.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;
/// Bytes of a tracestate that are passed on: the required minimum.
const MAX_STATE: usize = 512;

/// A caller's place in a trace of its own.
#[derive(Debug, Clone)]
pub struct Parent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) is_sampled: bool,
    pub(super) state: TraceState,
    traceparent: HeaderValue,
    tracestate: Option<HeaderValue>,
}

impl Parent {
    /// Reads a request's headers. `None` without a traceparent, or with one
    /// that is malformed: then the specification has a new trace begin. A
    /// malformed tracestate is left out.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let (trace_id, span_id, flags) = parse(value.as_bytes())?;
        let (tracestate, state) = state(headers).unzip();
        Some(Self {
            trace_id,
            span_id,
            is_sampled: flags & SAMPLED != 0,
            state: state.unwrap_or_default(),
            traceparent: if value.len() == LENGTH {
                // Copies: the received value shares the buffer of the whole
                // request.
                HeaderValue::from_bytes(value.as_bytes()).ok()?
            } else {
                // A later version, of any length: rewritten in this version's
                // form.
                traceparent(trace_id, span_id, flags & SAMPLED != 0)
            },
            tracestate,
        })
    }

    /// The traceparent as received, or, of a later version, the part that this
    /// version defines: for services to continue where the gateway adds nothing to
    /// the trace.
    pub fn traceparent(&self) -> &HeaderValue {
        &self.traceparent
    }

    /// The tracestate, if there is a valid one.
    pub fn tracestate(&self) -> Option<&HeaderValue> {
        self.tracestate.as_ref()
    }
}

/// Makes a traceparent. Neither id may be zero.
pub(super) fn traceparent(trace_id: TraceId, span_id: SpanId, is_sampled: bool) -> HeaderValue {
    let mut digits = [0; 32];
    let mut text = Vec::with_capacity(LENGTH);
    text.extend(b"00-");
    // Errors would mean that the digits have no room.
    text.extend(lower::encode(&trace_id.to_bytes(), &mut digits).unwrap_or_default());
    text.push(b'-');
    text.extend(lower::encode(&span_id.to_bytes(), &mut digits).unwrap_or_default());
    text.extend(if is_sampled { b"-01" } else { b"-00" });
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
}

/// Trace id, span id and flags. Of a later version, the part that version 00
/// defines.
fn parse(value: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let [version, trace_id, span_id, flags] = fields(known)?;
    let version = u8::from_be_bytes(hex(version)?);
    let is_whole = if version == 0 { rest.is_empty() } else { matches!(rest, [] | [b'-', ..]) };
    if version == 0xff || !is_whole {
        return None;
    }
    let trace_id = TraceId::from_bytes(hex(trace_id)?);
    let span_id = SpanId::from_bytes(hex(span_id)?);
    let [flags] = hex(flags)?;
    let is_valid = trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
    is_valid.then_some((trace_id, span_id, flags))
}

/// The four fields of a traceparent, at their places.
fn fields(value: &[u8]) -> Option<[&[u8]; 4]> {
    let mut fields = value.split(|byte| *byte == b'-');
    let four = [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
    fields.next().is_none().then_some(four)
}

/// Exactly `N` bytes from lowercase hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let read = lower::decode(digits, &mut bytes).ok()?.len();
    (read == N).then_some(bytes)
}

/// The tracestate of all its headers, cut behind a whole entry.
fn state(headers: &HeaderMap) -> Option<(HeaderValue, TraceState)> {
    let values: Result<Vec<&str>, _> =
        headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str).collect();
    let all = values.ok()?.join(",");
    let entries = all.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let mut kept = String::new();
    for entry in entries {
        let comma = usize::from(!kept.is_empty());
        if kept.len() + comma + entry.len() > MAX_STATE {
            break;
        }
        kept.push_str(if comma == 1 { "," } else { "" });
        kept.push_str(entry);
    }
    let state = TraceState::from_str(&kept).ok().filter(|_| !kept.is_empty())?;
    Some((HeaderValue::try_from(kept).ok()?, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn parent(traceparent: &str) -> Option<Parent> {
        Parent::from_headers(&headers(&[(TRACEPARENT, traceparent)]))
    }

    fn tracestate(states: &[&str]) -> Option<String> {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let mut pairs = vec![(TRACEPARENT, good.as_str())];
        pairs.extend(states.iter().map(|state| (TRACESTATE, *state)));
        let parent = Parent::from_headers(&headers(&pairs)).unwrap();
        let header = parent.tracestate().map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(parent.state.header(), header.clone().unwrap_or_default());
        header
    }

    #[test]
    fn a_good_traceparent_is_read_and_passed_on_as_it_came() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("03", true)] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            let parent = parent(&text).unwrap();
            assert_eq!(parent.trace_id.to_string(), TRACE);
            assert_eq!(parent.span_id.to_string(), SPAN);
            assert_eq!(parent.is_sampled, sampled, "{flags}");
            assert_eq!(parent.traceparent(), &text);
        }
    }

    #[test]
    fn a_version_to_come_is_read_as_far_as_it_is_known() {
        assert!(parent(&format!("01-{TRACE}-{SPAN}-01")).unwrap().is_sampled);
        let long = parent(&format!("cc-{TRACE}-{SPAN}-01-{}", "new".repeat(1000))).unwrap();
        assert!(long.is_sampled);
        assert_eq!(long.traceparent(), &format!("00-{TRACE}-{SPAN}-01"), "bounded");
        assert!(parent(&format!("cc-{TRACE}-{SPAN}-01.what")).is_none());
        assert!(parent(&format!("cc-{TRACE}-{SPAN}-0100")).is_none());
    }

    #[test]
    fn what_is_malformed_begins_no_trace() {
        let zero = "0".repeat(32);
        for bad in [
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("0A-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0G"),
            format!("00-{zero}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zero[..16]),
            format!("00-{}-{SPAN}0-01", &TRACE[1..]),
            format!("00-{TRACE}-{}-001", &SPAN[1..]),
            format!("00_{TRACE}_{SPAN}_01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
        ] {
            assert!(parent(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn two_traceparents_are_none() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        let twice = headers(&[(TRACEPARENT, &good), (TRACEPARENT, &good)]);
        assert!(Parent::from_headers(&twice).is_none());
        assert!(Parent::from_headers(&HeaderMap::new()).is_none());
    }

    #[test]
    fn tracestates_are_joined_and_bad_ones_left_out() {
        assert_eq!(tracestate(&[]), None);
        assert_eq!(tracestate(&["a=1,b@c=2"]).unwrap(), "a=1,b@c=2");
        assert_eq!(tracestate(&["a=1, , b=2", "c=3"]).unwrap(), "a=1,b=2,c=3");
        assert_eq!(tracestate(&["", ","]), None);
        assert_eq!(tracestate(&["a"]), None);
        assert_eq!(tracestate(&["A=1"]), None);
    }

    #[test]
    fn a_long_tracestate_is_cut_behind_an_entry() {
        let long: Vec<_> = (0..30).map(|at| format!("k{at}={}", "v".repeat(28))).collect();
        let kept = tracestate(&[&long.join(",")]).unwrap();
        assert!((480..=512).contains(&kept.len()), "{}", kept.len());
        assert!(long.join(",").starts_with(&kept) && kept.ends_with("vv"));
    }

    #[test]
    fn what_is_made_is_what_is_read() {
        let (trace_id, span_id) = (TraceId::from(0x0123_u128 << 64), SpanId::from(0xabc_u64));
        for sampled in [false, true] {
            let value = traceparent(trace_id, span_id, sampled);
            let parent = parent(value.to_str().unwrap()).unwrap();
            assert_eq!((parent.trace_id, parent.span_id), (trace_id, span_id));
            assert_eq!(parent.is_sampled, sampled);
        }
        let value = traceparent(TraceId::from(1), SpanId::from(1), false);
        assert_eq!(value, "00-00000000000000000000000000000001-0000000000000001-00");
    }
}
