//! How a request ends, and what each side's proxy says of it: as real Envoy does in the captured scenarios.

use super::Sim;
use super::distributions::*;
use super::exchange::{App, Attempt, Face, gone};
use super::mesh::{Played, Under};
use super::routes::Ending;
use super::truth::finding;

const CONNECTION_REFUSED: &str = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
const REFUSED: &str = "delayed_connect_error:_Connection_refused";
const APP_HUNG_UP: &str = "upstream_reset_after_response_started{connection_termination}";
const APP_RESET: &str = "upstream_reset_before_response_started{connection_termination}";

impl Sim<'_> {
    pub fn play(&mut self, under: &Under) -> Played {
        if let Some(abort_us) = under.order.abort_us {
            return self.aborted(under, abort_us);
        }
        match under.order.leg.ending {
            Ending::Answered => self.answered(under),
            Ending::Status(code) => self.app_status(under, code),
            Ending::Denied => self.denied(under),
            Ending::AppDown => self.app_down(under),
            Ending::NoEndpoints => self.no_endpoints(under),
            Ending::PeerDown => self.peer_down(under),
            Ending::Timeout => self.timed_out(under),
            Ending::Retried => self.retried(under),
            Ending::RetryExhausted => self.retry_exhausted(under),
            Ending::AppReset => self.app_reset(under),
            Ending::Websocket => self.websocket(under),
            Ending::Stream => self.stream(under),
            Ending::Grpc(status) => self.grpc(under, status),
            Ending::Tcp => self.tcp(under, false),
            Ending::TcpDenied => self.tcp(under, true),
        }
    }

    /// The callee's side has ended; the caller's side sees that a little later.
    fn whole(&mut self, under: &Under, mut attempt: Attempt, status: i32) -> Played {
        attempt.done_us = attempt.served_us + self.dice.mixture(&RETURN).0;
        let end_us = attempt.done_us;
        let face = Face::http(status as u16, under.body_bytes, attempt.face.bytes_sent);
        Played { attempts: vec![attempt], face, end_us, status }
    }

    fn answered(&mut self, under: &Under) -> Played {
        let mut attempt = self.attempt(under, under.order.at_us);
        let (served_us, status) = self.serve(under, &attempt);
        attempt.served_us = served_us;
        attempt.face.code = status as u16;
        self.whole(under, attempt, status)
    }

    fn app_status(&mut self, under: &Under, code: u16) -> Played {
        let mut attempt = self.attempt(under, under.order.at_us);
        attempt.served_us = attempt.arrived_us + self.dice.log_normal(QUICK_FAILURE);
        attempt.face.code = code;
        self.whole(under, attempt, i32::from(code))
    }

    fn denied(&mut self, under: &Under) -> Played {
        self.ledger.find(under.call, finding::DENIED);
        let mut attempt = self.attempt(under, under.order.at_us);
        attempt.refuse(attempt.arrived_us + self.dice.log_normal(REFUSAL));
        self.whole(under, attempt, 403)
    }

    fn app_down(&mut self, under: &Under) -> Played {
        self.ledger.find(under.call, finding::STOPPED);
        let mut attempt = self.attempt(under, under.order.at_us);
        attempt.served_us = attempt.arrived_us + self.dice.log_normal(log_normal(900.0, 1.0));
        let face = Face { verdict: attempt.face.verdict, ..Face::http(503, under.body_bytes, 98) };
        attempt.face =
            Face { app: App::Refused, failure: Some(REFUSED), ..face.flagged("UF", CONNECTION_REFUSED) };
        self.whole(under, attempt, 503)
    }

    fn app_reset(&mut self, under: &Under) -> Played {
        self.ledger.find(under.call, finding::STOPPED);
        let mut attempt = self.attempt(under, under.order.at_us);
        attempt.served_us = attempt.arrived_us + self.dice.log_normal(QUICK_FAILURE);
        let face = Face { verdict: attempt.face.verdict, ..Face::http(503, under.body_bytes, 95) };
        attempt.face = face.flagged("UC", APP_RESET);
        self.whole(under, attempt, 503)
    }

    fn no_endpoints(&mut self, under: &Under) -> Played {
        self.ledger.find(under.call, finding::STOPPED);
        let start_us = under.order.at_us;
        let end_us = start_us + self.dice.log_normal(log_normal(700.0, 0.8));
        let attempt = Attempt { to: None, reached: false, done_us: end_us, ..self.attempt(under, start_us) };
        let face = Face::http(503, 0, 19).flagged("UH", "no_healthy_upstream");
        Played { attempts: vec![attempt], face, end_us, status: 503 }
    }

    fn peer_down(&mut self, under: &Under) -> Played {
        self.ledger.find(under.call, finding::STOPPED);
        let start_us = under.order.at_us;
        let end_us = start_us + self.dice.log_normal(log_normal(2_000.0, 0.7));
        let attempt = Attempt { reached: false, done_us: end_us, ..self.attempt(under, start_us) };
        let face = Face::http(503, 0, 98).flagged("UF", CONNECTION_REFUSED);
        let face = Face { failure: Some(REFUSED), ..face };
        Played { attempts: vec![attempt], face, end_us, status: 503 }
    }

    /// The caller's proxy gives up; the callee's sees its caller go away a little later.
    fn timed_out(&mut self, under: &Under) -> Played {
        self.ledger.find(under.call, finding::STOPPED);
        let start_us = under.order.at_us;
        let end_us = start_us + ROUTE_TIMEOUT_US + self.dice.log_normal(log_normal(900.0, 0.7));
        let mut attempt = self.attempt(under, start_us);
        attempt.done_us = end_us;
        attempt.served_us = end_us + self.dice.log_normal(log_normal(200.0, 0.5));
        attempt.closes = !under.is_http2;
        attempt.face = attempt.face.gone(under.is_http2);
        let face = Face::http(504, under.body_bytes, 24).flagged("UT", "response_timeout");
        Played { attempts: vec![attempt], face, end_us, status: 504 }
    }

    /// Whoever waits for the whole chain goes away; what is under way ends from the top down. What has not begun, never does.
    fn aborted(&mut self, under: &Under, abort_us: i64) -> Played {
        self.ledger.find(under.call, finding::STOPPED);
        let end_us = abort_us + self.dice.log_normal(log_normal(250.0, 0.4));
        let mut attempt = self.attempt(under, under.order.at_us);
        attempt.done_us = end_us;
        attempt.served_us = end_us + self.dice.log_normal(log_normal(200.0, 0.5));
        attempt.closes = !under.is_http2;
        attempt.face = attempt.face.gone(under.is_http2);
        // The application's own calls end as this one does.
        self.serve(under, &attempt);
        let face = Face::http(0, under.body_bytes, 0).gone(under.is_http2);
        Played { attempts: vec![attempt], face, end_us, status: 0 }
    }

    fn failed_attempt(&mut self, under: &Under, sent_us: i64, in_between: bool) -> Attempt {
        let mut attempt = self.attempt(under, sent_us);
        attempt.served_us = attempt.arrived_us + self.dice.log_normal(QUICK_FAILURE);
        attempt.done_us = attempt.served_us + self.dice.mixture(&RETURN).0;
        attempt.face.code = 503;
        attempt.opens = !under.is_http2 && self.dice.chance(0.7);
        // Envoy may reset the attempt before it has read all of the answer (measured).
        if in_between && self.dice.chance(0.4) {
            let (flags, details) = gone(under.is_http2);
            attempt.face = Face { bytes_sent: 0, ..attempt.face.flagged(flags, details) };
            attempt.closes = !under.is_http2;
        }
        attempt
    }

    fn failures(&mut self, under: &Under, count: i64) -> (Vec<Attempt>, i64) {
        let (mut attempts, mut sent_us) = (Vec::new(), under.order.at_us);
        for i in 0..count {
            let attempt = self.failed_attempt(under, sent_us, i > 0);
            sent_us = attempt.done_us + self.dice.log_normal(RETRY_BACK_OFF);
            attempts.push(attempt);
        }
        (attempts, sent_us)
    }

    fn retried(&mut self, under: &Under) -> Played {
        let count = self.dice.between(1, 2);
        let (mut attempts, sent_us) = self.failures(under, count);
        let mut last = self.attempt(under, sent_us);
        last.served_us = last.arrived_us + self.dice.log_normal(QUICK_FAILURE);
        last.opens = !under.is_http2 && self.dice.chance(0.7);
        let Played { attempts: end, face, end_us, status } = self.whole(under, last, 200);
        attempts.extend(end);
        Played { face: Face { attempts: attempts.len() as u32, ..face }, attempts, end_us, status }
    }

    fn retry_exhausted(&mut self, under: &Under) -> Played {
        let (mut attempts, sent_us) = self.failures(under, 3);
        let last = self.failed_attempt(under, sent_us, false);
        let end_us = last.done_us;
        attempts.push(last);
        let face = Face::http(503, under.body_bytes, 24).flagged("URX", "via_upstream");
        Played { face: Face { attempts: 4, ..face }, attempts, end_us, status: 503 }
    }

    /// The caller hangs up after a while, or the application; then the caller's proxy may notice a second later (measured).
    fn websocket(&mut self, under: &Under) -> Played {
        let mut attempt = self.attempt(under, under.order.at_us);
        attempt.served_us = attempt.arrived_us + self.dice.log_normal(WEBSOCKET);
        attempt.closes = true;
        let by_app = self.dice.chance(0.3);
        let (flags, details) = if by_app { ("UC", APP_HUNG_UP) } else { gone(false) };
        let said = Face::http(101, 8, 4).flagged(flags, details);
        attempt.face = Face { verdict: attempt.face.verdict, ..said.clone() };
        let mut played = self.whole(under, attempt, 101);
        if by_app {
            played.end_us += self.dice.between(0, 1_000_000);
            played.attempts[0].done_us = played.end_us;
        }
        Played { face: said, ..played }
    }

    fn stream(&mut self, under: &Under) -> Played {
        let mut attempt = self.attempt(under, under.order.at_us);
        attempt.served_us = attempt.arrived_us + self.dice.log_normal(STREAM);
        self.whole(under, attempt, 200)
    }

    fn grpc(&mut self, under: &Under, grpc_status: u16) -> Played {
        let mut attempt = self.attempt(under, under.order.at_us);
        attempt.served_us = attempt.arrived_us + self.dice.mixture(&LEAF_SERVICE).0;
        attempt.face.grpc_status = Some(grpc_status);
        if grpc_status != 0 {
            attempt.face.bytes_sent = 0;
        }
        let played = self.whole(under, attempt, 200);
        Played { face: Face { grpc_status: Some(grpc_status), ..played.face }, ..played }
    }

    /// Refused or not, the callee's sidecar has reached its application by then (measured), and the caller's line looks alike.
    fn tcp(&mut self, under: &Under, is_denied: bool) -> Played {
        let mut attempt = self.attempt(under, under.order.at_us);
        attempt.served_us = attempt.arrived_us + self.dice.log_normal(TCP_CONVERSATION);
        let face = Face::tcp(46, if is_denied { 0 } else { 4 });
        let termination = is_denied.then_some("rbac_access_denied_matched_policy[none]");
        attempt.face = Face { termination, ..face.clone() };
        attempt.closes = true;
        if is_denied {
            self.ledger.find(under.call, finding::DENIED);
        }
        let played = self.whole(under, attempt, if is_denied { -1 } else { 0 });
        Played { face, ..played }
    }
}
