//! Movements of stock and closings of tills on their way in: each has an identity and counts once.

use rusqlite::params;
use shared::minute::Closing;
use shared::receipt::StockMovement;

use super::{ENTRY_BYTES_MAX, encode};
use crate::aggregate::open::Slot;
use crate::buffer::sqlite::Sqlite;
use crate::buffer::{BufferError, Intake, Sharing, Taken};
use crate::digest;

impl Sqlite {
    /// Returns the reason where the movement must be set aside.
    pub(super) fn take_movement(
        &self,
        intake: &Intake,
        slot: Slot,
        movement: &StockMovement,
        taken: &mut Taken,
    ) -> Result<Option<String>, BufferError> {
        let body = encode(movement);
        if body.len() > ENTRY_BYTES_MAX {
            return Ok(Some(format!("movement {} does not fit a batch", movement.id)));
        }
        let hash = digest::of(body.as_bytes()).to_vec();
        let (id, at) = (movement.id.as_str(), intake.at.to_string());
        let sql =
            "INSERT INTO movement_key (id, hash, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        if self.execute("remember a movement", sql, params![id, hash, at])? == 1 {
            self.add_open(slot, ("movement", Sharing::Shared), &body)?;
            taken.slots.insert(slot);
            taken.fresh += 1;
            return Ok(None);
        }
        let before: Vec<u8> = self.one("SELECT hash FROM movement_key WHERE id = ?1", &[&id])?;
        if before == hash {
            taken.duplicates += 1;
            return Ok(None);
        }
        Ok(Some(format!("movement {id} was counted with other content")))
    }

    /// Returns the reason where the closing must be set aside. It is known by tills, number and source.
    pub(super) fn take_closing(
        &self,
        intake: &Intake,
        slot: Slot,
        closing: &Closing,
        taken: &mut Taken,
    ) -> Result<Option<String>, BufferError> {
        let body = encode(closing);
        if body.len() > ENTRY_BYTES_MAX {
            return Ok(Some(format!("closing {} does not fit a batch", closing.closing)));
        }
        let id = encode(&(&closing.tills, &closing.closing, &closing.source));
        let (hash, at) = (digest::of(body.as_bytes()).to_vec(), intake.at.to_string());
        let sql =
            "INSERT INTO closing_key (id, hash, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        if self.execute("remember a closing", sql, params![id, hash, at])? == 1 {
            self.add_open(slot, ("closing", Sharing::Shared), &body)?;
            self.end_days(closing, slot.1)?;
            taken.slots.insert(slot);
            taken.fresh += 1;
            return Ok(None);
        }
        let before: Vec<u8> = self.one("SELECT hash FROM closing_key WHERE id = ?1", &[&id])?;
        if before == hash {
            taken.duplicates += 1;
            return Ok(None);
        }
        Ok(Some(format!("closing {} was counted with other content", closing.closing)))
    }
}
