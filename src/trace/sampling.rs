//! Which traces are recorded. Pure: decided by the trace's id alone, so that all
//! systems that sample the same share pick the same traces.

use opentelemetry::trace::TraceId;

/// A share of all traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ratio {
    /// Of 2^63.
    below: u64,
}

impl Ratio {
    /// `share` from 0 to 1; a value outside counts as the nearer of them.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "of a share from 0 to 1 there are 53 bits, and a float saturates"
    )]
    pub(super) fn new(share: f64) -> Self {
        Self { below: (share.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64 }
    }

    /// Whether the trace is one of the share: the choice of OpenTelemetry's
    /// `TraceIdRatioBased`.
    pub(super) fn takes(self, trace_id: TraceId) -> bool {
        let [_, _, _, _, _, _, _, _, low @ ..] = trace_id.to_bytes();
        u64::from_be_bytes(low) >> 1 < self.below
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::SpanKind;
    use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

    use super::*;

    #[test]
    fn all_or_none_is_all_or_none() {
        for id in [1, u128::MAX, u128::from(u64::MAX), 1 << 64, 1 << 63] {
            assert!(Ratio::new(1.0).takes(TraceId::from(id)), "{id}");
            assert!(!Ratio::new(0.0).takes(TraceId::from(id)), "{id}");
            assert!(!Ratio::new(-1.0).takes(TraceId::from(id)), "{id}");
            assert!(!Ratio::new(f64::NAN).takes(TraceId::from(id)), "{id}");
        }
    }

    #[test]
    fn the_choice_is_that_of_the_sdk() {
        for share in [0.01, 0.5, 0.9] {
            let mut taken = 0;
            for _ in 0..10_000 {
                let id = TraceId::from(rand::random::<u128>());
                let sampler = Sampler::TraceIdRatioBased(share);
                let theirs = sampler.should_sample(None, id, "", &SpanKind::Server, &[], &[]);
                let takes = Ratio::new(share).takes(id);
                assert_eq!(takes, theirs.decision == SamplingDecision::RecordAndSample);
                taken += u32::from(takes);
            }
            let expected = share * 10_000.0;
            assert!((f64::from(taken) - expected).abs() < 6.0 * expected.sqrt(), "{taken}");
        }
    }
}
