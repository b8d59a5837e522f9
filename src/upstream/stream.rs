//! The client's side of one HTTP/2 stream whose request has been sent.

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::HeaderMap;
use http::response::Parts;

/// A response that is awaited or being read. Dropping it unfinished resets the
/// stream; see [`super::linger`].
///
/// # Cancel safety
///
/// Every method may be dropped and called again; nothing is lost.
pub(super) enum ClientStream {
    Awaited(ResponseFuture),
    Arriving(RecvStream),
}

impl ClientStream {
    /// Waits for the response's head. `None` once it has been taken.
    pub(super) async fn head(&mut self) -> Result<Option<Parts>, h2::Error> {
        match self {
            Self::Arriving(_) => Ok(None),
            Self::Awaited(response) => {
                let (head, body) = response.await?.into_parts();
                *self = Self::Arriving(body);
                Ok(Some(head))
            }
        }
    }

    /// Whether nothing follows the head, or the data read so far.
    pub(super) fn is_ended(&self) -> bool {
        match self {
            Self::Awaited(_) => false,
            Self::Arriving(body) => body.is_end_stream(),
        }
    }

    /// The next piece of the body; `None` at its end. Its size is missing from the
    /// peer's window until it is given back by [`Self::release`].
    pub(super) async fn data(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let Self::Arriving(body) = self else { return None };
        body.data().await
    }

    /// Gives this many bytes back to the peer's windows, of the stream and of the
    /// connection.
    pub(super) fn release(&mut self, bytes: usize) {
        if let Self::Arriving(body) = self {
            // Fails only for more than was received.
            let _ = body.flow_control().release_capacity(bytes);
        }
    }

    /// The trailers behind the body.
    pub(super) async fn trailers(&mut self) -> Result<Option<HeaderMap>, h2::Error> {
        match self {
            Self::Awaited(_) => Ok(None),
            Self::Arriving(body) => body.trailers().await,
        }
    }
}
