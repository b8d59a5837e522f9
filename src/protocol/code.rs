//! The codes of replies: the result of a request.

use std::fmt;
use std::str::FromStr;

use crate::proto::session::response_body;

/// The result of a request: `ResponseBody.code` and `CommonResp.code`.
///
/// A number rather than an enum, because a service may answer with a code without
/// a name here, and the client must get that very code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(i32);

impl Code {
    /// The answer's data is the method's response message.
    pub const SUCCESS: Self = Self::named(response_body::Code::Success);
    /// A failure of unknown origin.
    pub const UNKNOWN_ERROR: Self = Self::named(response_body::Code::UnknownError);
    /// A failure inside the service.
    pub const INTERNAL_ERROR: Self = Self::named(response_body::Code::InternalError);
    /// The request is wrong: unknown method, bad data.
    pub const REQUEST_ERROR: Self = Self::named(response_body::Code::RequestError);
    /// Not logged in, or the login expired.
    pub const AUTH_ERROR: Self = Self::named(response_body::Code::AuthError);
    /// The client shows a toast.
    pub const TOAST_ERROR: Self = Self::named(response_body::Code::ToastError);
    /// The client shows an alert.
    pub const ALERT_ERROR: Self = Self::named(response_body::Code::AlertError);
    /// A passing failure: the client may try again.
    pub const RETRY_ERROR: Self = Self::named(response_body::Code::RetryError);

    /// Every code that has a name, in the order of their numbers.
    pub const NAMED: [Self; 8] = [
        Self::SUCCESS,
        Self::UNKNOWN_ERROR,
        Self::INTERNAL_ERROR,
        Self::REQUEST_ERROR,
        Self::AUTH_ERROR,
        Self::TOAST_ERROR,
        Self::ALERT_ERROR,
        Self::RETRY_ERROR,
    ];

    const fn named(code: response_body::Code) -> Self {
        Self(code as i32)
    }

    /// The code with this number, named or not.
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// The number on the wire.
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The protocol's name, such as `RetryError`; `None` for a number that it
    /// does not know.
    pub fn name(self) -> Option<&'static str> {
        response_body::Code::try_from(self.0).ok().map(|code| code.as_str_name())
    }

    /// Whether the answer's data is a response message and no `CommonResp`.
    pub const fn is_success(self) -> bool {
        self.0 == Self::SUCCESS.0
    }
}

impl fmt::Display for Code {
    /// The name, or the bare number of a code without one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        response_body::Code::from_str_name(name)
            .map(Self::named)
            .ok_or_else(|| UnknownCode(name.to_owned()))
    }
}

/// A name that no code has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no code is called `{0}`; there are Success, UnknownError, InternalError, RequestError, \
     AuthError, ToastError, AlertError and RetryError"
)]
pub struct UnknownCode(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_protocols() {
        let numbers = Code::NAMED.map(Code::number);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 7, 8]);
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for code in Code::NAMED {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
        assert_eq!("RetryError".parse(), Ok(Code::RETRY_ERROR));
    }

    #[test]
    fn a_wrong_name_is_refused_with_the_right_ones() {
        let error = "retryError".parse::<Code>().unwrap_err().to_string();
        assert!(error.contains("`retryError`"), "{error}");
        for code in Code::NAMED {
            assert!(error.contains(code.name().unwrap()), "{error}");
        }
    }

    #[test]
    fn a_number_without_a_name_is_kept() {
        let code = Code::new(1042);
        assert_eq!((code.number(), code.name()), (1042, None));
        assert_eq!(code.to_string(), "1042");
        assert!(!code.is_success());
    }
}
