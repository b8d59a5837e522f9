//! `bridgehead sessions`: the logged-in sessions, now and from now on.

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::output::{note, print};
use super::push_api::{
    Connection, Filters, Format, Gateway, JsonLines, SESSION_HEADER, Table, cell, session_cells,
    time,
};
use super::runtime;
use crate::proto::push::session_event::Kind;
use crate::proto::push::{
    ListSessionsRequest, Session, SessionEvent, Target, WatchSessionsRequest,
};

/// Room for time, kind, user, platform, device, session, address and ending.
const EVENT_WIDTHS: [usize; 8] = [20, 12, 12, 8, 16, 16, 15, 0];

const ENDED: &str = "the gateway has ended the watch";

/// List the logged-in sessions.
#[derive(Debug, Args)]
pub(super) struct Sessions {
    #[command(flatten)]
    filters: Filters,
    /// Stay, and print sessions as they begin and end, until Ctrl-C.
    ///
    /// Begins with the sessions that exist.
    #[arg(short, long, help_heading = "Output")]
    watch: bool,
    /// How sessions and events are printed.
    #[arg(short, long, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

impl Sessions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = self.filters.or_everyone();
        runtime::block_on(async {
            let gateway = self.connection.open().await?;
            if self.watch {
                watch(&gateway, target, self.output).await
            } else {
                list(&gateway, target, self.output).await
            }
        })
    }
}

async fn list(gateway: &Gateway, target: Target, output: Format) -> Result<(), Failure> {
    let request = ListSessionsRequest { target: Some(target) };
    let mut sessions = gateway.answer(gateway.client.clone().list_sessions(request)).await?;
    if output == Format::Json {
        let lines = JsonLines::of("Session")?;
        while let Some(session) = gateway.next(&mut sessions).await? {
            print(&lines.line(&session)?)?;
        }
        return Ok(());
    }
    let mut found = Vec::new();
    while let Some(session) = gateway.next(&mut sessions).await? {
        found.push(session);
    }
    let who =
        |s: &Session| [&s.user_id, &s.platform, &s.device_id, &s.session_id].map(Clone::clone);
    found.sort_by_cached_key(who);
    let rows: Vec<_> = found.iter().map(session_cells).collect();
    print(&table(&rows))
}

fn table(rows: &[[String; 10]]) -> String {
    let mut table = Table::new([0; 10]);
    table.fit(&SESSION_HEADER);
    for row in rows {
        table.fit(row);
    }
    let mut lines = vec![table.row(&SESSION_HEADER)];
    lines.extend(rows.iter().map(|row| table.row(row)));
    lines.join("\n")
}

async fn watch(gateway: &Gateway, target: Target, output: Format) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
    let request = WatchSessionsRequest { target: Some(target), snapshot: true };
    let lines = JsonLines::of("SessionEvent")?;
    let mut columns = Table::new(EVENT_WIDTHS);
    let mut client = gateway.client.clone();
    let mut events = tokio::select! {
        events = gateway.answer(client.watch_sessions(request)) => events?,
        _ = interrupt.recv() => return Ok(()),
    };
    let mut there = 0_usize;
    loop {
        let event = tokio::select! {
            event = gateway.next(&mut events) => event.map_err(|failure| failure.of(ENDED))?,
            _ = interrupt.recv() => return Ok(()),
        };
        let Some(event) = event else { return Err(Failure::failed(ENDED)) };
        there += usize::from(event.kind() == Kind::Snapshot);
        match (output, event.kind()) {
            (Format::Json, _) => print(&lines.line(&event)?)?,
            (Format::Text, Kind::SnapshotEnd) => note(&format!("{there} there; watching")),
            (Format::Text, _) => print(&columns.row(&event_cells(&event)))?,
        }
    }
}

/// An event as columns: time and kind, then the session.
fn event_cells(event: &SessionEvent) -> [String; 8] {
    let session = event.session.clone().unwrap_or_default();
    // A session that was there already is as old as its connection.
    let at = event.at.as_ref().or(session.connected_at.as_ref()).map(time).unwrap_or_default();
    [
        at,
        event.kind().as_str_name().to_owned(),
        cell(&session.user_id),
        cell(&session.platform),
        cell(&session.device_id),
        cell(&session.session_id),
        cell(&session.remote_ip),
        ending(event),
    ]
}

/// How a session ended: its close code and the reason.
fn ending(event: &SessionEvent) -> String {
    match (event.kind(), event.close_code) {
        (Kind::Disconnected, 0) => "now another user or device".to_owned(),
        (Kind::Disconnected, code) if event.reason.is_empty() => code.to_string(),
        (Kind::Disconnected, code) => format!("{code} {}", cell(&event.reason)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn session(user: &str) -> Session {
        Session {
            session_id: "s1".into(),
            user_id: user.into(),
            platform: "ios".into(),
            device_id: "phone".into(),
            node: "n1".into(),
            remote_ip: "10.0.0.7".into(),
            app_version: "1.2".into(),
            language: "en".into(),
            encrypted: true,
            connected_at: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        }
    }

    #[test]
    fn sessions_are_a_table_with_a_header() {
        let table = table(&[session_cells(&session("alice")), session_cells(&session("b"))]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(
            lines,
            [
                "SESSION  USER   PLATFORM  DEVICE  IP        VERSION  LANGUAGE  ENCRYPTED  NODE  CONNECTED",
                "s1       alice  ios       phone   10.0.0.7  1.2      en        yes        n1    2023-11-14T22:13:20Z",
                "s1       b      ios       phone   10.0.0.7  1.2      en        yes        n1    2023-11-14T22:13:20Z",
            ]
        );
    }

    #[test]
    fn an_event_says_when_what_who_and_how_it_ended() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let mut event = SessionEvent {
            kind: Kind::Disconnected.into(),
            session: Some(session("alice")),
            close_code: 3005,
            reason: "spam\n".into(),
            at: at(1_700_000_060),
        };
        let cells = event_cells(&event);
        assert_eq!(cells[0], "2023-11-14T22:14:20Z");
        assert_eq!(cells[1..3], ["DISCONNECTED", "alice"]);
        assert_eq!(cells[7], r"3005 spam\n");
        event = SessionEvent { kind: Kind::Snapshot.into(), at: None, close_code: 0, ..event };
        let cells = event_cells(&event);
        assert_eq!((&*cells[0], &*cells[7]), ("2023-11-14T22:13:20Z", ""));
    }
}
