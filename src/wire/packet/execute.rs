//! `COM_STMT_EXECUTE` and its relatives, as far as txguard looks into them.

use crate::wire::Malformed;
use crate::wire::command::Command;
use crate::wire::lenenc::Reader;

/// The head of a COM_STMT_EXECUTE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute {
    /// The statement's id.
    pub statement: u32,
    /// Cursor type and `PARAMETER_COUNT_AVAILABLE`; 0 is a plain execution.
    pub flags: u8,
    /// `new_params_bound`: parameter types travel with this execution. False also where the
    /// statement has no parameters.
    pub types_bound: bool,
}

/// Command, statement id, flags, iteration count.
const HEAD_LEN: usize = 10;

impl Execute {
    /// Reads the head; `params` is the number of parameters that Prepare-OK told.
    pub fn read(payload: &[u8], params: u16) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let statement = reader.u32()?;
        let flags = reader.u8()?;
        reader.u32()?;
        if params == 0 {
            return Ok(Self { statement, flags, types_bound: false });
        }
        reader.bytes(usize::from(params).div_ceil(8))?;
        Ok(Self { statement, flags, types_bound: reader.u8()? == 1 })
    }
}

/// The parameters of a COM_STMT_EXECUTE; all parts are empty where the statement has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters<'a> {
    /// One bit for each that is NULL.
    pub nulls: &'a [u8],
    /// Two bytes each; empty if they don't travel with this execution.
    pub types: &'a [u8],
    /// Those that are not NULL.
    pub values: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// Reads them; `params` is their number.
    pub fn read(payload: &'a [u8], params: u16) -> Result<Self, Malformed> {
        if params == 0 {
            return Ok(Self { nulls: &[], types: &[], values: &[] });
        }
        let mut reader = Reader::new(payload);
        reader.bytes(HEAD_LEN)?;
        let nulls = reader.bytes(usize::from(params).div_ceil(8))?;
        let types = match reader.u8()? {
            1 => reader.bytes(2 * usize::from(params))?,
            _ => &[],
        };
        Ok(Self { nulls, types, values: reader.rest() })
    }
}

/// Where the types of the parameters stand in an execution, behind the flag that they do.
#[must_use]
pub fn types_at(params: u16) -> usize {
    HEAD_LEN + usize::from(params).div_ceil(8) + 1
}

/// An execution of another statement with the same parameters; `types` are theirs.
///
/// # Errors
/// It is too short, or the types are not as many as the parameters.
pub fn rebound(
    payload: &[u8],
    params: u16,
    statement: u32,
    types: &[u8],
) -> Result<Vec<u8>, Malformed> {
    let Parameters { nulls, values, .. } = Parameters::read(payload, params)?;
    if types.len() != 2 * usize::from(params) {
        return Err(Malformed("types of other parameters"));
    }
    let mut execution = Reader::new(payload).bytes(HEAD_LEN)?.to_vec();
    execution[1..5].copy_from_slice(&statement.to_le_bytes());
    if params > 0 {
        execution.extend_from_slice(nulls);
        execution.push(1);
        execution.extend_from_slice(types);
        execution.extend_from_slice(values);
    }
    Ok(execution)
}

/// The values of an execution whose parameters are all strings or NULL.
///
/// # Errors
/// It is too short, or a type that travels with it is no string's.
pub fn strings(payload: &[u8], params: u16) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let Parameters { nulls, types, values } = Parameters::read(payload, params)?;
    let mut reader = Reader::new(values);
    let value = |place: usize| {
        if nulls[place / 8] & 1 << (place % 8) != 0 {
            return Ok(None);
        }
        match types.get(2 * place) {
            None | Some(0x0F | 0xF9..=0xFE) => reader.lenenc_bytes().map(Some),
            Some(0x06) => Ok(None),
            Some(_) => Err(Malformed("a parameter that is no string")),
        }
    };
    (0..usize::from(params)).map(value).collect()
}

/// The statement id behind the command byte: EXECUTE, CLOSE, RESET, FETCH, SEND_LONG_DATA.
pub fn statement_id(payload: &[u8]) -> Result<u32, Malformed> {
    let mut reader = Reader::new(payload);
    reader.u8()?;
    reader.u32()
}

/// The statement that this request executes; `None` if it is no COM_STMT_EXECUTE.
#[must_use]
pub fn executed(payload: &[u8]) -> Option<u32> {
    let executes = payload.first() == Some(&Command::STMT_EXECUTE.0);
    statement_id(payload).ok().filter(|_| executes)
}

/// The statement id and the parameter's number of a COM_STMT_SEND_LONG_DATA.
pub fn long_data(payload: &[u8]) -> Result<(u32, u16), Malformed> {
    let mut reader = Reader::new(payload);
    reader.u8()?;
    Ok((reader.u32()?, reader.u16()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_bound_when_the_flag_behind_the_null_bitmap_says_so() {
        let mut payload = vec![0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0];
        assert!(!Execute::read(&payload, 0).expect("no parameters").types_bound);
        payload.extend_from_slice(&[0, 0, 1]);
        let execute = Execute::read(&payload, 9).expect("two bytes of bitmap");
        assert_eq!(execute, Execute { statement: 5, flags: 0, types_bound: true });
        assert!(Execute::read(&payload, 17).is_err());
    }

    #[test]
    fn only_an_execution_executes() {
        assert_eq!(executed(&[0x17, 5, 0, 0, 0, 0]), Some(5));
        assert_eq!(
            (executed(&[0x19, 5, 0, 0, 0]), executed(&[0x17, 5]), executed(&[])),
            (None, None, None)
        );
    }

    #[test]
    fn an_execution_is_rebound_to_another_statement() {
        let bound = [0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0, 0b10, 1, 8, 0, 3, 0, 7, 7];
        let inherits = [0x17, 5, 0, 0, 0, 0, 1, 0, 0, 0, 0b10, 0, 7, 7];
        let wanted = [0x17, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0b10, 1, 8, 0, 3, 0, 7, 7];
        for payload in [&bound[..], &inherits] {
            assert_eq!(rebound(payload, 2, 9, &[8, 0, 3, 0]).as_deref(), Ok(&wanted[..]));
            assert!(rebound(payload, 2, 9, &[8, 0]).is_err());
        }
        assert_eq!(rebound(&bound[..10], 0, 9, &[]).as_deref(), Ok(&wanted[..10]));
        assert!(rebound(&bound[..5], 0, 9, &[]).is_err());
    }
}
