//! "Did you mean …?"

/// Names that are less alike than this are no suggestion.
const ALIKE: f64 = 0.8;

/// The known name that is most like `wanted`, if any is.
pub fn closest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// "; did you mean `x`?", or nothing.
pub(super) fn did_you_mean(suggestion: Option<&String>) -> String {
    suggestion.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognized_and_another_word_is_not() {
        let known = ["SendMsgListAsync", "GetMsgById"];
        assert_eq!(closest("SendMsgListAsinc", known), Some("SendMsgListAsync"));
        assert_eq!(closest("getmsgbyid", known), Some("GetMsgById"));
        assert_eq!(closest("Logout", known), None);
    }
}
