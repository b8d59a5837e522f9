//! `${VAR}` and `${VAR:-default}`: values from the environment.
//!
//! As in a shell, the default is taken where the variable is unset or empty,
//! and `$${` stands for `${` itself. There is no nesting and no other operator.

use std::borrow::Cow;

/// Looks a variable up; `None` where it is not set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The reason why a text could not be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure<'t> {
    /// The part of the text that is wrong.
    pub(super) part: &'t str,
    /// The description of the mistake.
    pub(super) message: String,
    /// The correction.
    pub(super) help: String,
}

/// A text after substitution.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled<'t> {
    /// The text.
    pub(super) text: Cow<'t, str>,
    /// Whether a variable's value, or a default, is part of it.
    pub(super) substituted: bool,
}

/// Replaces every variable in `text`, or returns a failure for each that could
/// not be replaced.
pub(super) fn substitute<'t>(
    text: &'t str,
    environment: Environment<'_>,
) -> Result<Filled<'t>, Vec<Failure<'t>>> {
    if !text.contains("${") {
        return Ok(Filled { text: Cow::Borrowed(text), substituted: false });
    }
    let mut filled = String::with_capacity(text.len());
    let mut substituted = false;
    let mut failures = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            filled.push_str(before);
            filled.push_str("${");
            rest = after;
            continue;
        }
        filled.push_str(before);
        let Some((inside, behind)) = after.split_once('}') else {
            let part = text.get(text.len() - after.len() - 2..).unwrap_or(text);
            failures.push(Failure {
                part,
                message: "a variable is not closed".to_owned(),
                help: "write `${NAME}`; for a literal `${` write `$${`".to_owned(),
            });
            return Err(failures);
        };
        // The braces and the dollar around `inside` are one byte each.
        let start = text.len() - after.len() - 2;
        let part = text.get(start..start + inside.len() + 3).unwrap_or(text);
        match value_of(inside, environment) {
            Ok(value) => filled.push_str(&value),
            Err((message, help)) => failures.push(Failure { part, message, help }),
        }
        substituted = true;
        rest = behind;
    }
    filled.push_str(rest);
    if failures.is_empty() {
        Ok(Filled { text: Cow::Owned(filled), substituted })
    } else {
        Err(failures)
    }
}

/// The value of `${inside}`, or an error: message and help.
fn value_of(inside: &str, environment: Environment<'_>) -> Result<String, (String, String)> {
    let name_end =
        inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, operator) = inside.split_at(name_end);
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err((
            "a variable has no usable name".to_owned(),
            "names are letters, digits and `_`; for a literal `${` write `$${`".to_owned(),
        ));
    }
    let default = operator.strip_prefix(":-");
    if default.is_none() && !operator.is_empty() {
        return Err((
            format!("`${{{name}…}}` has an unknown operator"),
            format!("only `${{{name}}}` and `${{{name}:-default}}` are known"),
        ));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err((
            "a default can't hold another variable".to_owned(),
            "write the default itself".to_owned(),
        ));
    }
    match (environment(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err((
            format!("the environment has no variable `{name}`"),
            format!("set it, or give a default: `${{{name}:-default}}`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db".to_owned()),
            "EMPTY" => Some(String::new()),
            "SNEAKY" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    fn filled(text: &str) -> String {
        substitute(text, &environment).unwrap().text.into_owned()
    }

    fn failure(text: &str) -> (String, String) {
        let failures = substitute(text, &environment).unwrap_err();
        assert_eq!(failures.len(), 1, "{failures:?}");
        (failures[0].part.to_owned(), failures[0].message.clone())
    }

    #[test]
    fn a_variable_is_replaced_wherever_it_stands() {
        assert_eq!(filled("${HOST}"), "db");
        assert_eq!(filled("http://${HOST}:1/${HOST}"), "http://db:1/db");
    }

    #[test]
    fn a_default_is_taken_where_the_variable_is_unset_or_empty() {
        assert_eq!(filled("${NONE:-a b}"), "a b");
        assert_eq!(filled("${EMPTY:-x}"), "x");
        assert_eq!(filled("${HOST:-x}"), "db");
        assert_eq!(filled("${NONE:-}"), "");
        assert_eq!(filled("${EMPTY}"), "");
    }

    #[test]
    fn a_value_is_not_looked_at_again() {
        assert_eq!(filled("${SNEAKY}"), "${HOST}");
    }

    #[test]
    fn a_doubled_dollar_keeps_the_braces() {
        assert_eq!(filled("$${HOST}"), "${HOST}");
        assert_eq!(filled("$${${HOST}}"), "${db}");
        assert!(!substitute("$${HOST}", &environment).unwrap().substituted);
    }

    #[test]
    fn a_dollar_without_braces_is_a_dollar() {
        assert_eq!(filled("$HOST $$ {HOST} 5$"), "$HOST $$ {HOST} 5$");
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let (part, message) = failure("http://${NONE}:1");
        assert_eq!(part, "${NONE}");
        assert!(message.contains("`NONE`"), "{message}");
    }

    #[test]
    fn every_bad_variable_of_a_text_is_reported() {
        assert_eq!(substitute("${A}${HOST}${B}", &environment).unwrap_err().len(), 2);
    }

    #[test]
    fn what_is_not_a_variable_is_refused() {
        assert_eq!(failure("a${HOST").0, "${HOST");
        assert_eq!(failure("${}").0, "${}");
        assert_eq!(failure("${1A}").0, "${1A}");
        assert_eq!(failure("${HOST-x}").0, "${HOST-x}");
        assert_eq!(failure("${HOST:?x}").0, "${HOST:?x}");
        assert_eq!(failure("é${NONE:-${HOST}}").0, "${NONE:-${HOST}");
    }
}
