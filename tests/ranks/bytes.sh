#!/usr/bin/env bash
# bytes.sh - any number of ranks and any guidance x Ulysses mesh: the bytes of one rank
#
# Job files, so that several jobs share a start of the program. 315 tokens are three
# shards of 128, so that with more ranks some own nothing; 5 heads split unevenly.
. "$(dirname "$0")/program.sh"

cat >plain.jsonl <<'J'
{"prompt": "A cat sits on the table.", "size": "144x112", "num_frames": 17, "output": "a.y4m", "save_latents": "a.h5"}
{"prompt": "A dog runs.", "size": "48x16", "num_frames": 5, "seed": 3, "output": "b.y4m", "save_latents": "b.h5", "save_embeds": "b-text.h5", "save_noise": "b-noise.h5"}
J
cat >forcing.jsonl <<'J'
{"prompt": "A cat sits on the table.", "size": "144x112", "num_frames": 17, "ar_step": 2, "output": "a.y4m", "save_latents": "a.h5"}
{"prompt": "Rain.", "size": "144x112", "num_frames": 29, "ar_step": 1, "base_num_frames": 17, "overlap_history": 5, "addnoise_condition": 20, "steps": 2, "output": "b.y4m", "save_latents": "b.h5"}
{"prompt": "Snow.", "size": "32x16", "num_frames": 13, "base_num_frames": 9, "overlap_history": 5, "chain": "pixels", "rng": "torch_cpu", "output": "c.y4m", "save_latents": "c.h5", "save_noise": "c-noise.h5"}
J

# kept FOLDER: move what the jobs have written
kept()
{
    mkdir -p "$1"
    mv ./*.y4m [abc]*.h5 "$1/"
}

# compare FOLDER: every file is as on one rank
compare()
{
    local f

    for f in "one-$case"/*; do
        same "$case on $1: $(basename "$f")" "$f" "$1/$(basename "$f")"
    done
}

# meshes CASE JOBS MESHES -- FLAGS: g1u1r1 first, alone; then all others
meshes()
{
    local jobs=$2 mesh list=$3

    case=$1
    shift 3
    makes generate --job "$jobs" --threads 1 --steps 3 "$@" && kept "one-$case"
    for mesh in $list; do
        makes_on "${mesh%%:*}" generate --job "$jobs" --threads 1 --steps 3 "$@" \
            --mesh "${mesh##*:}" || continue
        kept "$case-${mesh/:/-}"
        compare "$case-${mesh/:/-}"
    done
}

# What plan says that ranks send in a row, and what the log says that they have sent in
# the first: later ones may collect a checkpoint.
plan_holds()
{
    local job=(--model wan --size 144x112 --num_frames 17 --mesh "$2")

    makes plan "${job[@]}" --ranks "$1" --json
    grep -o '"\(sent_bytes\|messages\)_per_row": [0-9]*' "$root/out" |
        grep -o '[0-9]*$' >planned
    makes_on "$1" generate "${job[@]}" --prompt x --steps 2 --threads 1 --log_json log \
        --output plan.y4m
    grep '"traffic"' log | head -n "$1" |
        sed 's/.*"sent_bytes":\([0-9]*\).*"messages":\([0-9]*\).*/\1\n\2/' >sent
    same "bytes on the wire, $2" planned sent
    rm plan.y4m log
}

# A ring rounds in its own way, the same way every time.
ring_repeats()
{
    local job=(--model wan --prompt x --size 144x112 --num_frames 17 --steps 3
        --threads 1)

    makes generate "${job[@]}" --output one.y4m
    for n in 1 2; do
        makes_on 4 generate "${job[@]}" --mesh g1u2r2 --output "ring$n.y4m" \
            --save_latents "ring$n.h5"
    done
    same "ring, twice: video" ring1.y4m ring2.y4m
    same "ring, twice: latents" ring1.h5 ring2.h5
    at_least "ring against one rank, in decibels" \
        "$(psnr one.y4m ring1.y4m)" 60
    rm ring?.* one.y4m
}

# Files that rank 0 alone can see: the others run in folders without them.
files_are_read_once()
{
    local f job=(--size 48x16 --num_frames 5 --steps 3 --threads 1 --fps 16)

    makes generate --model wan --prompt "A dog runs." "${job[@]}" --output one.y4m \
        --save_embeds text.h5 --save_noise noise.h5
    echo "A dog runs." >words
    cat >apart.sh <<'S'
mkdir -p "rank$OMPI_COMM_WORLD_RANK" && cd "rank$OMPI_COMM_WORLD_RANK" || exit 1
ln -s ../wan wan
[ "$OMPI_COMM_WORLD_RANK" -ne 0 ] || cp ../words ../text.h5 ../noise.h5 .
exec "$@"
S
    for f in "--prompt_file words" "--embeds text.h5 --noise noise.h5"; do
        "${MPIRUN[@]}" -n 3 sh apart.sh "$FF" generate --model wan $f "${job[@]}" \
            --output two.y4m >"$root/out" 2>"$root/err" </dev/null
        is "files of rank 0: $f: exit code" "$?" 0
        same "files of rank 0: $f" one.y4m rank0/two.y4m
        rm -rf rank?
    done
    rm one.y4m
}

# Whoever reads the weights, and wherever they get their form.
weights_are_the_same()
{
    local how job=(--model wan --prompt x --size 48x16 --num_frames 5 --steps 2
        --threads 1 --precision fp8)

    makes generate "${job[@]}" --output one.y4m
    for how in "once auto" "each device" "node device" "once device"; do
        makes_on 3 generate "${job[@]}" --read_weights "${how% *}" \
            --convert_weights "${how#* }" --output two.y4m
        same "weights read $how" one.y4m two.y4m
        rm two.y4m
    done
    rm one.y4m
}

case ${4:-} in
plain)
    files_are_read_once
    weights_are_the_same
    ring_repeats
    plan_holds 8 g2u4
    plan_holds 3 g1u3
    meshes plain plain.jsonl "1:g1 2:g2 2:g1u2 3:g1u3 4:g2u2 4:g1u4 8:g2u4" --model wan
    ;;
forcing)
    meshes forcing forcing.jsonl "2:g2 3:g1u3 8:g2u4" --model sky --guidance_scale 6 \
        --precision fp8
    ;;
esac
done_testing
