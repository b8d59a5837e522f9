//! The methods of the Push API.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::counted::{Counted, Ongoing};
use super::generated::push_service_server::PushService;
use super::span::Traced;
use super::stream::Answers;
use super::{requests, stream as pushes};
use crate::broker::{Broker, Ended, Watching};
use crate::proto::push::{
    KickRequest, KickResponse, ListSessionsRequest, PushRequest, Session, SessionEvent,
    WatchSessionsRequest,
};
use crate::trace::Tracing;

/// The Push API over a broker.
pub(super) struct Service {
    broker: Arc<Broker>,
    counted: Arc<Counted>,
    /// Records pushes; `None`: none is.
    tracing: Option<Arc<Tracing>>,
    /// Turns true when the server stops: watches have no end of their own.
    stopped: watch::Receiver<bool>,
}

impl Service {
    pub(super) fn new(
        broker: Arc<Broker>,
        counted: Arc<Counted>,
        tracing: Option<Arc<Tracing>>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self { broker, counted, tracing, stopped }
    }
}

type Told<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl PushService for Service {
    type PushStream = Answers;
    type PushStreamStream = Answers;
    type ListSessionsStream = Told<Session>;
    type WatchSessionsStream = Told<SessionEvent>;

    async fn push(&self, request: Request<PushRequest>) -> Result<Response<Answers>, Status> {
        let traced = Traced::of(self.tracing.as_ref(), request.metadata());
        let push = requests::push(request.into_inner(), &self.broker);
        let (id, push) = self.counted.checked(push)?;
        Ok(Response::new(pushes::one(&self.broker, &self.counted, traced, id, push).await))
    }

    async fn push_stream(
        &self,
        request: Request<Streaming<PushRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (broker, counted) = (Arc::clone(&self.broker), Arc::clone(&self.counted));
        let traced = Traced::of(self.tracing.as_ref(), request.metadata());
        let (requests, stopped) = (request.into_inner(), self.stopped.clone());
        Ok(Response::new(pushes::many(broker, counted, traced, requests, stopped)))
    }

    async fn kick(&self, request: Request<KickRequest>) -> Result<Response<KickResponse>, Status> {
        let (target, reason) = self.counted.checked(requests::kick(request.into_inner()))?;
        let kicked = self.broker.kick(&target, &reason).await.map_err(|incomplete| {
            let kicked = incomplete.kicked;
            self.counted.kicked(kicked as u64);
            Status::unavailable(format!("{incomplete}; {kicked} were kicked elsewhere"))
        })?;
        self.counted.kicked(kicked as u64);
        let kicked = u32::try_from(kicked).unwrap_or(u32::MAX);
        Ok(Response::new(KickResponse { kicked }))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<Told<Session>>, Status> {
        let target = self.counted.checked(requests::any_target(request.into_inner().target))?;
        let told = stream::unfold(Some(self.broker.list(&target)), |listing| async {
            let mut listing = listing?;
            match listing.next().await {
                Ok(session) => session.map(|session| (Ok(session), Some(listing))),
                Err(incomplete) => Some((Err(Status::unavailable(incomplete.to_string())), None)),
            }
        });
        Ok(Response::new(told.boxed()))
    }

    async fn watch_sessions(
        &self,
        request: Request<WatchSessionsRequest>,
    ) -> Result<Response<Told<SessionEvent>>, Status> {
        let WatchSessionsRequest { target, snapshot } = request.into_inner();
        let target = self.counted.checked(requests::any_target(target))?;
        let watch = self.broker.watch(target, snapshot).await.map_err(|ended| status(&ended))?;
        Ok(Response::new(events(watch, self.counted.watch(), self.stopped.clone()).boxed()))
    }
}

/// The events of a watch, until it would miss one or the server stops.
fn events(
    watch: Watching,
    watched: Ongoing,
    stopped: watch::Receiver<bool>,
) -> impl Stream<Item = Result<SessionEvent, Status>> + Send {
    stream::unfold(Some((watch, watched, stopped)), |state| async {
        let (mut watch, watched, mut stopped) = state?;
        let event = tokio::select! {
            biased;
            event = watch.next() => event,
            _stop = stopped.wait_for(|stop| *stop) => {
                return Some((Err(Status::unavailable("the gateway stops")), None));
            }
        };
        match event {
            Ok(event) => Some((Ok(event), Some((watch, watched, stopped)))),
            Err(ended) => Some((Err(status(&ended)), None)),
        }
    })
}

/// Why a watch has ended, and the remedy.
fn status(ended: &Ended) -> Status {
    let text = format!("{ended}: begin again, with a snapshot");
    match ended {
        Ended::Behind(_) => Status::resource_exhausted(text),
        Ended::Broken(_) => Status::unavailable(text),
    }
}
