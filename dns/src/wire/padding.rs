//! Padding of answers (RFC 7830) by the block length policy of RFC 8467 §4.1, so that the size of what is encrypted
//! tells little of what is inside.

/// RFC 8467 §4.1 recommends this for answers.
const BLOCK_OCTETS: usize = 468;
const OPTION_PADDING: u16 = 12;
/// Code and length, before the padding itself.
const OPTION_HEAD_OCTETS: usize = 4;
/// Owner, type, class, TTL and length of an OPT record.
const OPT_HEAD_OCTETS: usize = 11;
/// Most octets of any message.
const MOST_OCTETS: usize = u16::MAX as usize;

/// Fills `message`, which ends in an OPT record of `opt_octets`, up to a whole number of blocks. Where that would be
/// more than a message can hold, it is filled up to that; where not even the option fits, it stays as it is.
pub(super) fn pad(opt_octets: usize, message: &mut Vec<u8>) {
    let least = message.len() + OPTION_HEAD_OCTETS;
    let Some(padding) = least.next_multiple_of(BLOCK_OCTETS).min(MOST_OCTETS).checked_sub(least) else {
        return;
    };
    let rdata_octets = opt_octets - OPT_HEAD_OCTETS + OPTION_HEAD_OCTETS + padding;
    let at = message.len() - opt_octets + OPT_HEAD_OCTETS - 2;
    let length = u16::try_from(rdata_octets).expect("no longer than the message");
    message[at..at + 2].copy_from_slice(&length.to_be_bytes());
    message.extend_from_slice(&OPTION_PADDING.to_be_bytes());
    message.extend_from_slice(&u16::try_from(padding).expect("less than a block").to_be_bytes());
    // RFC 7830 §3: zeros, so that there is nothing to compress or to read.
    message.resize(message.len() + padding, 0);
}
