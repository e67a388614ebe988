use downbeat::{Context, Engine, Event, Flow, Key, Nothing, Options, Out, Reject, Stage};

/// What can happen.
#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(name = "bank.Deposited", version = 1, crate = downbeat::record)]
struct Deposited {
    cents: i64,
}

/// What to do about it: one balance per account.
struct Balance;

impl Stage for Balance {
    type State = i64;
    type Output = Nothing;

    fn apply(&self, balance: &mut i64, event: &Context<'_>, _: &mut Out<'_, Nothing>) -> Result<(), Reject> {
        if let Some(deposit) = event.event::<Deposited>()? {
            *balance = balance.checked_add(deposit.cents.to_native()).ok_or(Reject::new("overflow"))?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("downbeat-quickstart-{}", std::process::id()));
    let flow = Flow::named("bank").stage("balance", Balance).on::<Deposited>().build()?;
    let engine = Engine::open(Options::new(&dir), flow)?;
    let receipt = engine.submit(&Deposited { cents: 1_250 }).key(Key::of("alice")).wait()?;
    println!("durable as seq {} at {} ns", receipt.seq, receipt.timestamp);
    engine.close()?;
    Ok(std::fs::remove_dir_all(dir)?)
}
