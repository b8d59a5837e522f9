//! Memory of idle sessions: plain, with AES, behind TLS.

use super::Bench;
use crate::document::Group;
use crate::failure::Failure;
use crate::figures::{Unit, number};
use crate::gateway::Setup;
use crate::load::{Crowd, Opened};
use crate::table::{Row, Target};

/// A way to connect, and the memory that its sessions may take.
struct Kind {
    name: &'static str,
    encrypt: bool,
    tls: bool,
    most: Option<f64>,
}

const KINDS: [Kind; 3] = [
    Kind { name: "plain", encrypt: false, tls: false, most: Some(3.5 * 1024.0) },
    Kind { name: "AES", encrypt: true, tls: false, most: Some(4.0 * 1024.0) },
    Kind { name: "TLS", encrypt: false, tls: true, most: None },
];

pub(super) fn measure(bench: &mut Bench) -> Result<Group, Failure> {
    let sessions = bench.plan.sessions;
    let (mut rows, mut warnings) = (Vec::new(), Vec::new());
    for kind in KINDS {
        // A gateway that has done nothing before.
        let setup = Setup { tls: kind.tls, ping_interval: "1s", ..Setup::default() };
        let gateway = bench.gateway(&setup)?;
        let burst = ["--burst", bench.plan.burst];
        let opened = bench.generator.idle(&Crowd {
            url: &gateway.url,
            pid: gateway.pid(),
            sessions,
            encrypt: kind.encrypt,
            hold: bench.plan.hold,
            burst: &burst,
        })?;
        let held = &opened.gateway;
        eprintln!("  {}: {:.0} bytes a session", kind.name, held.resident_bytes_per_session);
        rows.extend(rows_of(&kind, &opened));
        warnings.extend(opened.warnings);
    }
    Ok(Group {
        intro: format!(
            "{} sessions, each logged in, of a gateway that was just started: resident memory less \
             what it was before the first, by their number. Idle is {} s of a ping a second to each; \
             the burst is {} to each.",
            Unit::Count.show(number(sessions)),
            bench.plan.hold.as_secs(),
            bench.plan.burst
        ),
        rows,
        loads: Vec::new(),
        warnings,
    })
}

fn rows_of(kind: &Kind, opened: &Opened) -> Vec<Row> {
    let (name, held) = (kind.name, &opened.gateway);
    let a_session = held.resident_bytes_per_session;
    let row = |what: &str, unit, figure: Option<f64>| {
        Row::new(format!("{what}, {name}"), unit, figure.into_iter().collect())
    };
    let mut memory = row("resident memory a session", Unit::Kibibytes, Some(a_session));
    if let Some(most) = kind.most {
        memory = memory.with(Target::AtMost(most));
    }
    let grown = |after: f64| {
        (after - held.resident_before_bytes) / (held.resident_bytes - held.resident_before_bytes)
    };
    let after_hold = held.resident_after_hold_bytes.map(grown);
    let after_burst = held.resident_after_burst_bytes_per_session.map(|after| after / a_session);
    vec![
        memory,
        row("after idle time, of that", Unit::Times, after_hold).with(Target::AtMost(1.02)),
        row("after a burst, of that", Unit::Times, after_burst).with(Target::AtMost(1.2)),
        row("the kernel's memory a session", Unit::Kibibytes, held.kernel_bytes_per_session),
    ]
}
