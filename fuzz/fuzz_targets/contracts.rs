//! Any text as a contract table, and any payload under the shapes it declares.
#![no_main]

use downbeat_record::{AlignedBuf, ContractTable, encoded_here, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (text, payload) = input;
    let Ok(table) = ContractTable::from_json(text) else { return };
    let again = ContractTable::from_json(&table.to_json()).expect("what was accepted is accepted again");
    assert_eq!(again.len(), table.len());
    let aligned = AlignedBuf::from_slice(payload);
    for (_, contract) in table.iter() {
        // Either answer is fine; what counts is that there is one, in bounded memory and time.
        let _ = json::decode(&contract.shape, encoded_here(&aligned[..payload.len()]));
    }
});
