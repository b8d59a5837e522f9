//! `bridgehead bench push`: opens many sessions, pushes to all of them round after
//! round, and checks and times the deliveries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Streaming;

use super::arrivals::{Arrivals, EVENT, HEADER};
use super::crowd::{CrowdArgs, Plan};
use super::figures::Millis;
use super::interrupt::Interrupt;
use super::process::Process;
use super::progress::bar;
use super::receipts::Receipts;
use super::report::{Gateway as Taken, Report};
use crate::cli::failure::Failure;
use crate::cli::limits;
use crate::cli::output::print_with_verdict;
use crate::cli::push::Confirm;
use crate::cli::push_api::{Connection, Gateway};
use crate::cli::runtime;
use crate::proto::push::push_receipt::Outcome;
use crate::proto::push::{self, ListSessionsRequest, PushReceipt, PushRequest, Target};

/// How long after the deadline of a push its last receipt may come.
const GRACE: Duration = Duration::from_secs(2);

/// Open many sessions, push to all of them, and check and time every delivery.
///
/// Every session must get every push once and in order, and the gateway must give one
/// receipt for each; if not, the exit code is 1. A round begins when the one before
/// has come to all sessions. Only the sessions of this command get pushes, unless
/// --everyone is given. Ctrl-C ends it after the current round: the results until
/// then are printed, and the exit code is 130.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  bridgehead bench push --sessions 10000 --pid $(pidof bridgehead)
  bridgehead bench push --sessions 1000 --rounds 100 --confirm acknowledged --json")]
pub(super) struct Push {
    #[command(flatten)]
    crowd: CrowdArgs,
    /// How often to push.
    #[arg(long, help_heading = "Pushes", value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Bytes of data in each push.
    #[arg(long, help_heading = "Pushes", value_name = "BYTES", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(HEADER as i64..=4 << 20))]
    size: u32,
    /// The stage of the delivery that receipts confirm.
    #[arg(long, help_heading = "Pushes", value_enum, default_value_t = Confirm::Written)]
    confirm: Confirm,
    /// How long receipts are waited for, up to 10m.
    #[arg(long, help_heading = "Pushes", value_name = "DURATION", default_value = "10s",
          value_parser = limits::deadline)]
    deadline: Duration,
    /// Push to everyone, not only to the sessions of this command.
    ///
    /// Other clients get an event with an unknown number.
    #[arg(long, help_heading = "Pushes")]
    everyone: bool,
    /// The gateway's process id: reports its CPU time and memory.
    ///
    /// It must run on this machine.
    #[arg(long, help_heading = "Output")]
    pid: Option<u32>,
    /// Print the results as JSON.
    ///
    /// All numbers are in the units of their names.
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// The work to do, once there are sessions.
struct Course {
    rounds: usize,
    size: usize,
    /// How long a round may take.
    patience: Duration,
    everyone: bool,
    /// The expected outcome of receipts.
    wanted: Outcome,
    /// All but the target, the data and the id.
    request: PushRequest,
    process: Option<Process>,
}

/// A run that is under way.
struct Run {
    arrivals: Arc<Arrivals>,
    receipts: Receipts,
    gateway: Gateway,
    requests: mpsc::Sender<PushRequest>,
    answers: Streaming<PushReceipt>,
    /// All but the data and the id.
    request: PushRequest,
    size: usize,
    patience: Duration,
}

impl Push {
    pub(super) fn run(self) -> Result<(), Failure> {
        let process = self.pid.map(Process::find).transpose()?;
        let plan = self.crowd.plan(self.connection.timeout())?;
        let request = PushRequest {
            event: EVENT,
            confirm: push::Confirm::from(self.confirm).into(),
            deadline: Some(self.deadline.try_into().map_err(Failure::usage)?),
            ..PushRequest::default()
        };
        let course = Course {
            rounds: self.rounds.into(),
            size: self.size as usize,
            patience: self.deadline.saturating_add(GRACE),
            everyone: self.everyone,
            wanted: outcome(self.confirm),
            request,
            process,
        };
        let (json, connection) = (self.json, self.connection);
        runtime::block_on_threads(runtime::cores(), async move {
            let interrupt = Interrupt::listen()?;
            let gateway = interrupt.or(connection.open()).await?;
            let mut report = course.measure(plan, gateway, &interrupt).await?;
            report.interrupted = interrupt.has_come();
            let text = if json { report.json()? } else { report.to_string() };
            print_with_verdict(&text, interrupt.verdict(report.verdict()))
        })
    }
}

impl Course {
    async fn measure(
        self,
        plan: Plan,
        gateway: Gateway,
        interrupt: &Interrupt,
    ) -> Result<Report, Failure> {
        let target = Target { user_ids: plan.users().names().collect(), ..Target::default() };
        must_be_nobody(&gateway, target.clone()).await?;
        let sample = || self.process.map(Process::sample).transpose();
        let before = sample()?;

        let mut report = Report {
            sessions: plan.sessions(),
            stalled_sessions: plan.sessions() - plan.readers(),
            encrypted: plan.is_encrypted(),
            size: self.size,
            confirm: self.wanted.as_str_name(),
            ..Report::default()
        };
        let arrivals = Arrivals::new(plan.sessions(), plan.readers(), self.rounds);
        let arrivals = Arc::new(arrivals);
        let receipts = Receipts::new(plan.users().clone(), plan.readers(), self.wanted);
        let bar = bar("opening sessions", plan.sessions());
        let crowd = interrupt.or(plan.open(&arrivals, &bar)).await?;
        bar.finish_and_clear();
        report.open_seconds = crowd.opened_in.as_secs_f64();

        let everyone = Target { everyone: true, ..Target::default() };
        let request = PushRequest {
            target: Some(if self.everyone { everyone } else { target }),
            ..self.request.clone()
        };
        let (size, patience) = (self.size, self.patience);
        let mut run = Run::start(gateway, arrivals, receipts, request, size, patience).await?;
        let open = sample()?;
        let times = run.rounds(self.rounds, interrupt).await?;
        let after = sample()?;
        let gone = crowd.settle().await;
        let (arrivals, receipts) = run.end(report.sessions).await?;
        crowd.close().await;

        report.rounds = times.len();
        let (deliveries, faults, latencies) = arrivals.outcome(times.len());
        report.deliveries = deliveries;
        report.arrival_ms = Millis::of(&latencies);
        report.set_times(&times);
        report.set_faults(faults, &receipts, &gone);
        if let (Some(process), Some(before), Some(open), Some(after)) =
            (self.process, before, open, after)
        {
            report.gateway = Some(Taken::new(process, [&before, &open, &after], deliveries));
        }
        Ok(report)
    }
}

/// Refuses to push to users of the same names that are logged in already, such as
/// the sessions of another run.
async fn must_be_nobody(gateway: &Gateway, target: Target) -> Result<(), Failure> {
    let request = ListSessionsRequest { target: Some(target) };
    let mut sessions = gateway.answer(gateway.client.clone().list_sessions(request)).await?;
    match gateway.next(&mut sessions).await? {
        None => Ok(()),
        Some(session) => Err(Failure::usage(format!(
            "the user {} of this run is logged in already",
            session.user_id
        ))
        .help("is another bench running, or did one end just now? Choose other users with --user-prefix")),
    }
}

fn outcome(confirm: Confirm) -> Outcome {
    match confirm {
        Confirm::Queued => Outcome::Queued,
        Confirm::Written => Outcome::Written,
        Confirm::Acknowledged => Outcome::Acknowledged,
    }
}

impl Run {
    async fn start(
        gateway: Gateway,
        arrivals: Arc<Arrivals>,
        receipts: Receipts,
        request: PushRequest,
        size: usize,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let (requests, queue) = mpsc::channel(1);
        let queue = futures_util::stream::unfold(queue, |mut queue| async {
            queue.recv().await.map(|request| (request, queue))
        });
        let answers = gateway.answer(gateway.client.clone().push_stream(queue)).await?;
        Ok(Self { arrivals, receipts, gateway, requests, answers, request, size, patience })
    }

    /// Pushes so often, or until something is lost. Returns when the last receipt of each round came, and
    /// how long each took.
    async fn rounds(
        &mut self,
        rounds: usize,
        interrupt: &Interrupt,
    ) -> Result<Vec<(Duration, Duration)>, Failure> {
        let bar = bar("pushing", rounds);
        let mut times = Vec::with_capacity(rounds);
        for round in 0..rounds {
            let started = Instant::now();
            let ended = timeout(self.patience, self.round(round)).await;
            let is_complete = ended.is_ok();
            ended.unwrap_or(Ok(()))?;
            let last = self.receipts.last_of(round);
            let in_time = last.max(self.arrivals.last_of(round));
            let whole = if is_complete { in_time } else { started.elapsed() };
            times.push((last, whole));
            bar.inc(1);
            if !is_complete || interrupt.has_come() {
                break; // something was lost, and would be so again; or it is enough
            }
        }
        bar.finish_and_clear();
        Ok(times)
    }

    /// Pushes, and waits until all sessions that read have the push, and there
    /// are their receipts.
    async fn round(&mut self, round: usize) -> Result<(), Failure> {
        let push_id = self.receipts.begin();
        let data = self.arrivals.push(round, self.size);
        let request = PushRequest { push_id, data, ..self.request.clone() };
        // Where this fails the stream has ended, and will say why.
        drop(self.requests.send(request).await);
        let arrivals = Arc::clone(&self.arrivals);
        let mut arrived = std::pin::pin!(arrivals.complete(round));
        let mut have_arrived = false;
        while !have_arrived || !self.receipts.have_all_of_readers() {
            tokio::select! {
                () = &mut arrived, if !have_arrived => have_arrived = true,
                receipt = self.gateway.next(&mut self.answers) => match receipt? {
                    Some(receipt) => self.receipts.note(&receipt),
                    None => return Err(Failure::failed("the gateway has ended the push stream")),
                },
            }
        }
        Ok(())
    }

    /// Waits for the receipts that are still to come, of stalled sessions.
    async fn end(self, sessions: usize) -> Result<(Arc<Arrivals>, Receipts), Failure> {
        let Self { arrivals, mut receipts, gateway, requests, mut answers, patience, .. } = self;
        drop(requests);
        let wait = if receipts.missing() + receipts.missing_of_stalled(sessions) > 0 {
            patience
        } else {
            GRACE
        };
        let rest = async {
            while let Some(receipt) = gateway.next(&mut answers).await? {
                receipts.note(&receipt);
            }
            Ok(())
        };
        match timeout(wait, rest).await {
            Ok(ended) => ended.map(|()| (arrivals, receipts)),
            Err(_) => Err(Failure::failed("the gateway did not end the push stream in time")),
        }
    }
}
