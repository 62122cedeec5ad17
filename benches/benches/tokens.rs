//! MaxSim: 100 records of 40 tokens, here and there in a file of 20 000, against a question of 12 tokens.

use criterion::{Criterion, criterion_group, criterion_main};
use membox_vectors::{QuestionTokens, RowCodes, StoredCodes, TokenFile, TokenSpace, TokenVectors};

const RECORDS: u32 = 20_000;
const CANDIDATES: u32 = 100;
const TOKENS: usize = 40;
const ASKED: usize = 12;

fn max_sim(c: &mut Criterion) {
    let mut group = c.benchmark_group("max_sim, 100 records");
    for dimension in [32, 48, 64] {
        let space = TokenSpace { dimension, axes: [0; 16] };
        let numbers = |vectors: usize| membox_benches::vectors(vectors, dimension).concat();
        let packed: Vec<TokenVectors> = numbers(RECORDS as usize * TOKENS)
            .chunks(TOKENS * dimension)
            .map(|vectors| TokenVectors::pack(space, vectors))
            .collect();

        let rows = (0..).zip(&packed).map(|(row, of)| RowCodes {
            row,
            vector_crc: row,
            codes: StoredCodes { tokens: TOKENS as u16, key: 0, bytes: of.bytes() },
        });
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = TokenFile::create(&folder.path().join("tokens.mbe"), space, Default::default()).expect("a file");
        file.append(&rows.collect::<Vec<_>>()).expect("room");
        let (view, question) = (file.view(), QuestionTokens::new(space, &numbers(ASKED)));
        let mut first = 0;
        group.bench_function(format!("{dimension} numbers a token"), |b| {
            b.iter(|| {
                first = (first + 104_729) % RECORDS;
                let of = |record: u32| {
                    let mut best = [f32::NEG_INFINITY; ASKED];
                    let row = (first + record * 7919) % RECORDS;
                    question.max_sim(view.get(row, row).expect("its codes").bytes, &mut best);
                    best.iter().sum::<f32>()
                };
                (0..CANDIDATES).map(of).sum::<f32>()
            })
        });
    }
    group.finish();
}

criterion_group!(benches, max_sim);
criterion_main!(benches);
