//! The methods of the Push API.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::generated::push_service_server::PushService;
use super::stream::Answers;
use super::{requests, stream as pushes};
use crate::broker::{Broker, told};
use crate::proto::push::{
    KickRequest, KickResponse, ListSessionsRequest, PushRequest, Session, SessionEvent,
    WatchSessionsRequest,
};
use crate::registry::Watch;

/// The Push API over a broker.
pub(super) struct Service {
    broker: Arc<Broker>,
    /// Turns true when the server stops: watches have no end of their own.
    stopped: watch::Receiver<bool>,
}

impl Service {
    pub(super) fn new(broker: Arc<Broker>, stopped: watch::Receiver<bool>) -> Self {
        Self { broker, stopped }
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
        let (id, push) = requests::push(request.into_inner())?;
        Ok(Response::new(pushes::one(&self.broker, id, push).await))
    }

    async fn push_stream(
        &self,
        request: Request<Streaming<PushRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let broker = Arc::clone(&self.broker);
        Ok(Response::new(pushes::many(broker, request.into_inner(), self.stopped.clone())))
    }

    async fn kick(&self, request: Request<KickRequest>) -> Result<Response<KickResponse>, Status> {
        let (target, reason) = requests::kick(request.into_inner())?;
        let kicked = self.broker.kick(&target, &reason);
        let kicked = u32::try_from(kicked).unwrap_or(u32::MAX);
        Ok(Response::new(KickResponse { kicked }))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<Told<Session>>, Status> {
        let target = requests::any_target(request.into_inner().target)?;
        let node = Arc::clone(self.broker.node());
        let sessions = stream::iter(self.broker.list(&target));
        let told = sessions.map(move |presence| Ok(told::session(&presence, &node)));
        Ok(Response::new(told.boxed()))
    }

    async fn watch_sessions(
        &self,
        request: Request<WatchSessionsRequest>,
    ) -> Result<Response<Told<SessionEvent>>, Status> {
        let WatchSessionsRequest { target, snapshot } = request.into_inner();
        let target = requests::any_target(target)?;
        let (present, watch) = self.broker.watch(target);
        let node = Arc::clone(self.broker.node());
        let events = events(watch, Arc::clone(&node), self.stopped.clone());
        if !snapshot {
            return Ok(Response::new(events.boxed()));
        }
        let present = stream::iter(present).map(move |it| Ok(told::snapshot(&it, &node)));
        let end = stream::iter([Ok(told::snapshot_end())]);
        Ok(Response::new(present.chain(end).chain(events).boxed()))
    }
}

/// What a watch hears, until it falls behind or the server stops.
fn events(
    watch: Watch,
    node: Arc<str>,
    stopped: watch::Receiver<bool>,
) -> impl Stream<Item = Result<SessionEvent, Status>> + Send {
    stream::unfold(Some((watch, node, stopped)), |state| async {
        let (mut watch, node, mut stopped) = state?;
        let event = tokio::select! {
            biased;
            event = watch.next() => event,
            _stop = stopped.wait_for(|stop| *stop) => {
                return Some((Err(Status::unavailable("the gateway stops")), None));
            }
        };
        match event {
            Ok(event) => Some((Ok(told::event(event, &node)), Some((watch, node, stopped)))),
            Err(behind) => {
                let text = format!("{behind}: begin again, with a snapshot");
                Some((Err(Status::resource_exhausted(text)), None))
            }
        }
    })
}
