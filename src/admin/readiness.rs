//! Whether the gateway should get clients, and why not, as JSON.

use serde::Serialize;

/// A condition of readiness, and its state.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The subject of the check: `listeners`, `routes`, …
    #[serde(skip)]
    pub name: &'static str,
    /// Whether the condition holds.
    pub ok: bool,
    /// Whether a gateway that fails the check should get no clients. Not for a
    /// problem of all gateways at once: bad service is better than none.
    #[serde(skip)]
    pub is_needed: bool,
    /// The problems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

impl Check {
    /// A check that holds if there are no reasons against it.
    pub fn needed(name: &'static str, reasons: Vec<String>) -> Self {
        Self { name, ok: reasons.is_empty(), is_needed: true, reasons }
    }

    /// The same, but its reasons are only reported.
    pub fn wanted(name: &'static str, reasons: Vec<String>) -> Self {
        Self { is_needed: false, ..Self::needed(name, reasons) }
    }
}

/// Whether all needed checks hold, and all checks as JSON.
pub(super) fn report(checks: &[Check]) -> (bool, String) {
    let is_ready = checks.iter().all(|check| check.ok || !check.is_needed);
    let is_well = checks.iter().all(|check| check.ok);
    let status = match (is_ready, is_well) {
        (true, true) => "ready",
        (true, false) => "degraded",
        (false, _) => "not ready",
    };
    let value = |check: &Check| serde_json::to_value(check).unwrap_or_default();
    let each = checks.iter().map(|check| (check.name.to_owned(), value(check)));
    let checks: serde_json::Map<_, _> = each.collect();
    let report = serde_json::json!({ "status": status, "checks": checks });
    let text = serde_json::to_string_pretty(&report).unwrap_or_default();
    (is_ready, format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_decides_and_the_rest_is_told() {
        let well = Check::needed("listeners", vec![]);
        let alone =
            Check::wanted("cluster", vec!["no connection to NATS: nats:4222: refused".into()]);
        let pending = Check::needed("routes", vec!["msg: down".into()]);
        let told = |checks: &[&Check]| {
            let checks: Vec<_> = checks.iter().map(|check| (*check).clone()).collect();
            let (is_ready, text) = report(&checks);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            (is_ready, value)
        };
        assert_eq!(told(&[&well]).1["status"], "ready");
        let (is_ready, value) = told(&[&well, &alone]);
        assert!(is_ready);
        assert_eq!(value["status"], "degraded");
        assert_eq!(
            value["checks"]["cluster"]["reasons"][0],
            "no connection to NATS: nats:4222: refused"
        );
        assert_eq!(value["checks"]["listeners"], serde_json::json!({ "ok": true }));
        let (is_ready, value) = told(&[&pending, &well]);
        assert!(!is_ready);
        assert_eq!(value["status"], "not ready");
        assert_eq!(value["checks"]["routes"]["ok"], false);
    }
}
