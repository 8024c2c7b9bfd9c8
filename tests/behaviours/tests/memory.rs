//! Whether a leak would be found.

use ambit_behaviours::memory;
use anyhow::{Result, ensure};

/// Of an onslaught, and what each leaves behind.
const ATTACKERS: usize = 1000;
const LEFT: usize = 4 << 10;

fn own() -> Result<i32> {
    Ok(i32::try_from(std::process::id())?)
}

// One test: two would see each other's memory.
#[tokio::test]
async fn what_a_first_round_leaves_is_no_leak_and_four_kibibytes_of_each_attacker_are() -> Result<()>
{
    let mut table = Vec::new();
    memory::returns(&[own()?], async || {
        table.resize(ATTACKERS * LEFT, 1_u8);
        Ok(())
    })
    .await?;
    let mut kept = Vec::new();
    let leak = async || {
        kept.extend((0..ATTACKERS).map(|_| vec![1_u8; LEFT]));
        Ok(())
    };
    let found = memory::returns(&[own()?], leak).await;
    ensure!(found.is_err(), "nobody noticed");
    ensure!(kept.len() > ATTACKERS, "tried once");
    Ok(())
}
