//! Room for more transactions: a permit is one of them, or [`PERMIT_OCTETS`] of its body.

use super::Shared;
use crate::proto::transaction::Body;

impl Shared {
    /// Waits until there is room for this body. Returns the permits that it takes.
    pub(in crate::net) async fn wait_for_room(&self, body: &Body) -> u32 {
        let weight = weight(Some(body));
        if let Ok(permit) = self.room.try_acquire_many(weight) {
            permit.forget();
            return weight;
        }
        match self.room.acquire_many(weight).await {
            Ok(permit) => {
                permit.forget();
                weight
            }
            // The connection is over; the engine will say why.
            Err(_) => 0,
        }
    }

    /// Takes what room there is for this body, without waiting.
    pub(in crate::net) fn take_room(&self, body: Option<&Body>) -> u32 {
        let taken = self.room.forget_permits(weight(body) as usize);
        u32::try_from(taken).unwrap_or(PERMITS)
    }

    pub(in crate::net) fn give_room(&self, permits: u32) {
        self.room.add_permits(permits as usize);
    }

    /// Nobody needs to wait for room any longer.
    pub(in crate::net) fn close_room(&self) {
        self.room.close();
    }
}

/// The permits that a transaction takes.
fn weight(body: Option<&Body>) -> u32 {
    let octets = match body {
        Some(Body::Whole(content)) => content.bytes().len(),
        Some(Body::Streamed(_)) | None => 0,
    };
    u32::try_from(octets / PERMIT_OCTETS)
        .unwrap_or(PERMITS)
        .saturating_add(1)
        .min(PERMITS)
}

/// Transactions that may be queued before `send` waits, if their messages are short.
pub(super) const PERMITS: u32 = 1024;
/// Octets of a body that count as another transaction: 16 MiB may be queued.
const PERMIT_OCTETS: usize = 16 * 1024;
