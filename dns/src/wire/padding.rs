//! Padding of answers (RFC 7830) by the block length policy of RFC 8467 §4.1, so that the size of what is encrypted
//! tells little of what is inside.

/// RFC 8467 §4.1 recommends this for answers.
const BLOCK_BYTES: usize = 468;
const OPTION_PADDING: u16 = 12;
/// Code and length, before the padding itself.
const OPTION_HEAD_BYTES: usize = 4;
/// Owner, type, class, TTL and length of an OPT record.
const OPT_HEAD_BYTES: usize = 11;
/// Most bytes of any message.
const MOST_BYTES: usize = u16::MAX as usize;

/// Fills `message`, which ends in an OPT record of `opt_bytes`, up to a whole number of blocks. Where that would be
/// more than a message can hold, it is filled up to that; where not even the option fits, it stays as it is.
pub(super) fn pad(opt_bytes: usize, message: &mut Vec<u8>) {
    let least = message.len() + OPTION_HEAD_BYTES;
    let Some(padding) = least.next_multiple_of(BLOCK_BYTES).min(MOST_BYTES).checked_sub(least) else {
        return;
    };
    let rdata_bytes = opt_bytes - OPT_HEAD_BYTES + OPTION_HEAD_BYTES + padding;
    let at = message.len() - opt_bytes + OPT_HEAD_BYTES - 2;
    let length = u16::try_from(rdata_bytes).expect("no longer than the message");
    message[at..at + 2].copy_from_slice(&length.to_be_bytes());
    message.extend_from_slice(&OPTION_PADDING.to_be_bytes());
    message.extend_from_slice(&u16::try_from(padding).expect("less than a block").to_be_bytes());
    // RFC 7830 §3: zeros, so that there is nothing to compress or to read.
    message.resize(message.len() + padding, 0);
}
