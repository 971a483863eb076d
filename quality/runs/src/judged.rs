//! Derived calls in the shape that the measure reads: what an export would say, without writing it.

use crate::derive::{Derived, KeptBack};
use calltrail::model::{Call, Leg, Side, Timestamp};
use calltrail_score::export::{ExportedFinding, ExportedPrincipal};
use calltrail_score::{Exported, ExportedLeg, LineHash};

/// Long after every grace period: what is missing then is missing. As `--as-of 2100-01-01`.
pub const AS_OF: Timestamp = Timestamp(4_102_444_800_000_000);

pub fn exported(derived: &Derived, as_of: Timestamp) -> Vec<Exported> {
    let one = |call: &Call| Exported {
        id: call.id.to_string(),
        parent_id: call.parent_id.map(|p| p.to_string()),
        parent_inferred: call.parent_inferred,
        principal: call
            .principal
            .as_ref()
            .map(|p| ExportedPrincipal { subject: p.principal.subject.clone() }),
        basis: call.basis.to_string(),
        confidence: f64::from(call.confidence_ppm) / 1e6,
        ambiguous: call.ambiguous,
        protocol: call.protocol.to_string(),
        legs: call.legs.iter().map(leg).collect(),
        findings: derived
            .findings(call, as_of)
            .map(|f| ExportedFinding { kind: f.kind.to_string() })
            .collect(),
        unmeasured: derived
            .kept_back(call, as_of)
            .filter(|(_, why)| *why == KeptBack::Unmeasured)
            .map(|(f, _)| ExportedFinding { kind: f.kind.to_string() })
            .collect(),
    };
    derived.calls.iter().map(one).collect()
}

pub fn leg(leg: &Leg) -> ExportedLeg {
    ExportedLeg {
        line_sha256: LineHash(leg.line.line_sha256.0),
        span_id: leg.span_id.map(|s| s.to_string()),
        side: Some(match leg.side {
            Side::Client => calltrail_score::Side::Client,
            Side::Server => calltrail_score::Side::Server,
        }),
        hop: leg.hop.clone(),
    }
}
