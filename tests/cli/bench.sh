#!/usr/bin/env bash
# bench.sh - benchmarks of a tiny shape: the fields of the results, and what adds up
. "$(dirname "$0")/lib.sh"

B=(bench --shape tiny --size 48x32 --num_frames 5 --repeats 2 --steps 3 --threads 1)

result()
{
    "$PROBE" json bench.json "$1"
}

bench_of()
{
    makes "${B[@]}" "$@" --json bench.json
}

# ---- every part, every precision

for precision in fp32 bf16 fp8 int8 fp8_fast; do
    bench_of --precision $precision --parts forward,vae,text,load
    is "$precision: tokens" "$(result tokens)" 12
    is "$precision: mesh" "$(result mesh)" g1u1r1
    for part in forward vae text load; do
        at_least "$precision: $part takes time" "$(result $part.median_seconds)" 0.000001
        at_least "$precision: $part holds weights" "$(result $part.weight_bytes)" 1000
        at_least "$precision: the slowest $part" "$(result $part.max_seconds)" \
            "$(result $part.min_seconds)"
    done
    is "$precision: estimated" "$(result end_to_end.how)" estimated
    at_least "$precision: linear" "$(result forward.split_seconds.linear)" 0.000001
    at_least "$precision: attention" "$(result forward.split_seconds.attention)" 0.000001
    at_least "$precision: decoding" "$(result vae.split_seconds.convolution)" 0.000001
done

for how in host device; do
    bench_of --precision fp8 --parts load --load_blocks 3 --convert_weights $how
    at_least "weights converted on the $how: rate" "$(result load_bytes_per_second)" 1000
    at_least "beside it: sent" "$(result load_send_bytes_per_second)" 1000
    at_least "beside it: read" "$(result load_read_bytes_per_second)" 1000
done

# ---- sums

bench_of
awk -v whole="$(result end_to_end.seconds)" -v f="$(result forward.median_seconds)" \
    -v v="$(result vae.median_seconds)" -v t="$(result text.median_seconds)" \
    'BEGIN { d = whole - (2 * t + 6 * f + v); exit !(d < 1e-6 && d > -1e-6) }' && ok ||
    not_ok "the whole" "is not its parts"
is "no load unless asked" "$("$PROBE" json bench.json load.median_seconds 2>/dev/null)" "?"
bench_of --no-guidance
awk -v whole="$(result end_to_end.seconds)" -v f="$(result forward.median_seconds)" \
    -v v="$(result vae.median_seconds)" -v t="$(result text.median_seconds)" \
    'BEGIN { d = whole - (t + 3 * f + v); exit !(d < 1e-6 && d > -1e-6) }' && ok ||
    not_ok "the unguided whole" "is not its parts"
bench_of --end_to_end
is "measured" "$(result end_to_end.how)" measured
bench_of --parts forward
is "no choice of products, none proven" "$("$PROBE" json bench.json settle_seconds 2>/dev/null)" "?"
is "no whole of a part" "$("$PROBE" json bench.json end_to_end.how 2>/dev/null)" "?"

# Work and memory follow the layers; shared blocks take the memory of one.
flop=$(result forward.flop)
bytes=$(result forward.weight_bytes)
bench_of --parts forward --layers 8
at_least "work of more layers" "$(result forward.flop)" "$(awk -v x="$flop" 'BEGIN { print 2 * x }')"
at_least "weights of more layers" "$(result forward.weight_bytes)" "$((bytes + 1))"
bench_of --parts forward --layers 8 --share_blocks
at_least "weights of shared layers" "$bytes" "$(($(result forward.weight_bytes) + 1))"

# ---- accuracy

for precision in bf16 int8 fp8 fp8_fast; do
    bench_of --precision $precision --parts accuracy
    is "$precision: measure" "$(result accuracy.measure)" \
        "$([ $precision = bf16 ] && echo fp32 || echo bf16)"
    at_least "$precision: cosine of the velocity" \
        "$(result accuracy.velocity.cosine)" "0.9"
    at_least "$precision: it differs" "$(result accuracy.velocity.relative_l2)" 0.00001
done

worst=$(result accuracy.worst.relative_l2)
makes "${B[@]}" --precision fp8 --parts accuracy --ops
is "blocks" "$(grep -c '^    block ' "$root/out")" 2
is "the worst of them" "$(awk '$1 == "block" { print $4 }' "$root/out" | sort -g | tail -1)" \
    "$(printf '%.3e' "$worst"),"

# ---- the table

makes "${B[@]}" --parts forward --ops
is "ops beside ceilings" "$(grep -c 'attention 4x12x12x64' "$root/out")" 1
is "ceilings" "$(grep -c '^ceilings: copy' "$root/out")" 1
is "help" "$("$FF" bench --help | grep -c -- --share_blocks)" 1
is "nothing is left behind" "$(find . -name 'framefleet-bench*' | wc -l)" 0

# ---- refusals

table <<'END'
size between patches  | 2 | "${B[@]}" --size 50x32          | impossible size 50x32 ; 16
frames between        | 2 | "${B[@]}" --num_frames 6        | impossible num_frames 6 ; 4k + 1
unknown part          | 2 | "${B[@]}" --parts forward,vea   | unknown part 'vea' ; vae
accuracy of exactness | 2 | "${B[@]}" --parts accuracy      | accuracy ; other than fp32
unknown shape         | 2 | "${B[@]}" --shape 15b           | 14b
unknown flag          | 2 | "${B[@]}" --repeat 3            | unknown flag 'repeat' ; 'repeats'
stray argument        | 2 | "${B[@]}" fast                  | unexpected argument 'fast'
unknown backend       | 2 | "${B[@]}" --backend quick       | unknown backend 'quick'
steps without forward | 2 | "${B[@]}" --parts vae --end_to_end | end_to_end ; forward
mesh of other ranks   | 2 | "${B[@]}" --mesh g2u2           | cannot lay 1 rank out as 'g2u2'
nothing to tune       | 2 | "${B[@]}" --tune                | backend 'cpu' has one way to work out a product
a file of nothing     | 2 | "${B[@]}" --tune_file f         | tune_file needs --tune
no such folder        | 2 | "${B[@]}" --parts load --scratch /nowhere | /nowhere
too large             | 4 | bench --shape 14b --layers 1000 --precision fp32 | GiB
END

done_testing
