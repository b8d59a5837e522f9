//! A client's code for each gRPC status.

use tonic::Code;

use crate::proto::session::response_body::Code as Client;

/// gRPC has 17 statuses, 0 to 16.
const STATUSES: usize = 17;

/// The client's code for each gRPC status. The default is the session
/// protocol's table; single rows can be overridden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCodes([i32; STATUSES]);

impl StatusCodes {
    /// The client's code, a number of `ResponseBody.Code`.
    pub fn map(&self, status: Code) -> i32 {
        self.0.get(status as usize).copied().unwrap_or(Client::UnknownError as i32)
    }

    /// The same with another code for one status. `OK` stays unchanged.
    #[must_use]
    pub fn with(mut self, status: Code, code: i32) -> Self {
        if status != Code::Ok
            && let Some(row) = self.0.get_mut(status as usize)
        {
            *row = code;
        }
        self
    }
}

impl Default for StatusCodes {
    fn default() -> Self {
        Self(std::array::from_fn(|status| {
            let status = i32::try_from(status).map_or(Code::Unknown, Code::from_i32);
            default_code(status) as i32
        }))
    }
}

fn default_code(status: Code) -> Client {
    match status {
        Code::Ok => Client::Success,
        Code::Unauthenticated => Client::AuthError,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::PermissionDenied
        | Code::Unimplemented => Client::RequestError,
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Cancelled => Client::RetryError,
        Code::Internal | Code::DataLoss => Client::InternalError,
        Code::Unknown => Client::UnknownError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_that_of_the_protocol() {
        // gRPC numbers 0 to 16 and the client's codes, written out as numbers.
        let rows = [0, 8, 1, 3, 8, 3, 3, 3, 8, 3, 8, 3, 3, 2, 8, 2, 4];
        let codes = StatusCodes::default();
        for (status, code) in (0..).zip(rows) {
            assert_eq!(codes.map(Code::from_i32(status)), code, "{:?}", Code::from_i32(status));
        }
    }

    #[test]
    fn an_override_changes_its_row_only() {
        let codes = StatusCodes::default().with(Code::NotFound, 5).with(Code::Ok, 1);
        assert_eq!(codes.map(Code::NotFound), 5);
        assert_eq!(codes.map(Code::Ok), 0);
        assert_eq!(codes.map(Code::AlreadyExists), 3);
    }
}
