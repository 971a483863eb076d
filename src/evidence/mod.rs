//! Commitments over deliveries: what makes the evidence provable. Pure; the tables are the store's.
