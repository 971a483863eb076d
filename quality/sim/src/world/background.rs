//! Work that nobody at the edge has asked for: jobs of a service, some of which copy the headers of a request; scheduled Workers.

use super::Sim;
use super::headers::Headers;
use super::mesh::Order;
use super::routes::{Leg, made_up};
use super::truth::{Cause, finding};

impl Sim<'_> {
    pub fn background(&mut self, name: &'static str, at_us: i64) {
        let leg = if name == "rates" { made_up::RATES } else { made_up::NIGHTLY };
        match name {
            "cron_worker" => {
                self.touched.clear();
                self.cron_worker(made_up::ORDERS, at_us);
                self.recall(false);
            }
            "copied_trace" | "copied_header" => self.copies_headers(name, at_us),
            _ => {
                self.job(name, leg, Headers::default(), at_us);
            }
        }
    }

    fn job(
        &mut self,
        scenario: &'static str,
        leg: Leg,
        headers: Headers,
        at_us: i64,
    ) -> crate::records::CallNo {
        let cause = Cause { parent: None, root_kind: "background", principal: None, scenario };
        let from = self.instance_of("cron");
        let order =
            Order { from, leg, id: "nightly", headers, at_us, entry: None, around: None, abort_us: None };
        self.call(&cause, order).call
    }

    /// A job that was given a request's headers to work with, and sends them long after, from a service that the request never
    /// reached. By what can be seen it is a theft.
    fn copies_headers(&mut self, scenario: &'static str, at_us: i64) {
        let Some(past) = self.victim("cron", at_us) else { return };
        let with_header = scenario == "copied_header";
        let mut headers = Headers { hop: None, parent_hop: None, ..past.headers };
        if !with_header {
            headers.calltrail = None;
        }
        let call = self.job(scenario, made_up::NIGHTLY, headers, at_us);
        self.ledger.find(call, finding::BROKEN_CHAIN);
        if with_header {
            self.ledger.find(call, finding::REPLAYED_HEADER);
        }
    }
}
