//! The export of somebody who saw everything: for testing the measure.

use crate::export::{Exported, ExportedFinding, ExportedLeg, ExportedPrincipal};
use crate::truth::{HARMLESS, RealCall, RealLine};

pub fn perfect(real: &[RealCall]) -> Vec<Exported> {
    let leg = |l: &RealLine| ExportedLeg {
        line_sha256: l.sha256,
        span_id: l.span.clone(),
        side: l.side(),
        hop: None,
    };
    let harmless = |label: &String| HARMLESS.contains(&label.as_str());
    let exported = |r: &RealCall| Exported {
        id: r.id.clone(),
        parent_id: r.parent.clone(),
        parent_inferred: false,
        principal: r.principal.clone().map(|subject| ExportedPrincipal { subject }),
        basis: (if r.lines.len() > 1 { "proven" } else { "single" }).to_owned(),
        confidence: 1.0,
        ambiguous: 1,
        protocol: r.kind.clone(),
        legs: r.lines.iter().map(leg).collect(),
        findings: r
            .findings
            .iter()
            .filter(|l| !harmless(l))
            .cloned()
            .map(|kind| ExportedFinding { kind })
            .collect(),
        unmeasured: vec![],
    };
    real.iter().filter(|r| !r.lines.is_empty()).map(exported).collect()
}
