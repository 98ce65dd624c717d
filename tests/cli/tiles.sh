#!/usr/bin/env bash
# tiles.sh - frames decoded in tiles: the same bytes, in less memory
. "$(dirname "$0")/lib.sh"

# ---- the same bytes

LONG=(generate "${SKY[@]}" --size 128x64 --steps 1 --guidance_scale 1 --num_frames 21
    --base_num_frames 13 --overlap_history 5)
while IFS='|' read -r name more; do
    name=$(trim "$name")
    # shellcheck disable=SC2086
    makes "${LONG[@]}" $more --output "$name.y4m" --save_latents "$name.h5"
    for tile in 48x64 64x32; do
        # shellcheck disable=SC2086
        makes "${LONG[@]}" $more --vae_tile $tile --output "$name.$tile.y4m"
        same "$name: generated in tiles of $tile" "$name.y4m" "$name.$tile.y4m"
        grep -q "decoding in .* tiles of $tile pixels" "$root/err" && ok ||
            not_ok "$name" "the cut is not said"
    done
    makes decode "$name.h5" --model sky --vae_tile 24x40 --threads 2 \
        --output "$name.decoded.y4m"
    same "$name: decoded in tiles" "$name.y4m" "$name.decoded.y4m"
done <<'END'
latents  |
pixels   | --chain pixels
one      | --overlap_history 0
bf16     | --precision bf16 --vae_chunk 2
END
makes decode latents.h5 --model sky --vae_tile 16x16 --output smallest.y4m
same "tiles of 16x16" latents.y4m smallest.y4m
makes decode latents.h5 --model sky --vae_tile 0 --output whole.y4m
same "no tiles" latents.y4m whole.y4m
makes decode latents.h5 --model sky --vae_tile 4096x4096 --output large.y4m
same "a tile larger than the frame" latents.y4m large.y4m
if "$FF" "${LONG[@]}" --output v.mp4 2>&1 | grep -q "not built"; then
    skip "mp4" "FFmpeg is not in this build"
else
    makes decode latents.h5 --model sky --vae_tile 64x32 --output tiles.mp4
    same "mp4 with its tags" v.mp4 tiles.mp4
fi
is "no spool is left" "$(find . -name '.*tiles*' | wc -l)" 0

# A job that is cut otherwise is the same job.
run "${LONG[@]}" --vae_tile 64x32 --output other.y4m --checkpoint_every 1 --print_job
is "the cut belongs to the launch" "$code" 0
how=$("$PROBE" signal 10 "decode 3/" "$FF" "${LONG[@]}" --vae_tile 64x32 \
    --checkpoint_every 1 --output cut.y4m 2>"$root/err")
is "stopped in a tile" "$how" "exit 75"
is "nothing half made" "$(find . -name '*cut*' ! -name 'cut.y4m.checkpoints' | wc -l)" 0
makes resume cut.y4m --vae_tile 64x64
same "resumed with other tiles" latents.y4m cut.y4m

# ---- less memory, in the plan and in truth

S=(--model wan --num_frames 5 --steps 1 --guidance_scale 1 --threads 1)
plan_of "${S[@]}" --size 1280x128
whole=$(number decode_bytes)
is "untiled" "$(number decode_tiles)" 1
plan_of "${S[@]}" --size 1280x128 --vae_tile 128x128
is "tiles" "$(number decode_tiles)" 10
is "width of tiles" "$(number decode_tile_width)" 128
at_least "tiles take a third of the memory" $((whole / 3)) "$(number decode_bytes)"
run plan "${S[@]}" --size 1280x128 --vae_tile 128x128
is "plan says so" "$(grep -c '^decoding in 10 tiles of 128x128 pixels$' "$root/out")" 1
makes generate "${S[@]}" --prompt x --size 1280x128 --output w.y4m --save_latents w.h5
for tile in 0 128x128; do
    "$PROBE" peak peak.$tile "$FF" decode w.h5 --model wan --threads 1 --vae_tile $tile \
        --output w.$tile.y4m 2>"$root/err" || not_ok "decode in $tile" "failed"
    same "decoded in $tile" w.y4m w.$tile.y4m
done
echo "peak of decoding 1280x128: whole $(($(cat peak.0) >> 20)) MiB," \
    "in strips of 128 $(($(cat peak.128x128) >> 20)) MiB"
at_least "the peak falls" "$(cat peak.0)" $(($(cat peak.128x128) + whole / 2))

# Frames that do not fit are cut without being asked to: a picture of 16 GiB and more.
plan_of "${S[@]}" --size 16384x16384 --num_frames 1 --vae_tile 0
whole=$(number decode_bytes)
peak=$(number peak_bytes)
free=$(awk '/MemAvailable/ { printf "%d", $2 * 1024 }' /proc/meminfo)
plan_of "${S[@]}" --size 16384x16384 --num_frames 1
if [ "$peak" -gt "$free" ]; then
    at_least "tiles by themselves" "$(number decode_tiles)" 2
    at_least "tiles take less" "$whole" $(($(number decode_bytes) + 1))
else
    skip "tiles by themselves" "this machine has memory for $peak bytes"
fi

# The same where a launch may take less than there is.
plan_of "${S[@]}" --size 1280x512 --num_frames 1
peak=$(number peak_bytes)
plan_of "${S[@]}" --size 1280x512 --num_frames 1 --memory_limit \
    "$(awk -v b=$((peak - 1)) 'BEGIN { printf "%.9f", b / 1024 / 1024 / 1024 }')"
at_least "tiles within a limit" "$(number decode_tiles)" 2
at_least "tiles keep the limit" $((peak - 1)) "$(number peak_bytes)"

table <<'END'
not a size      | 2 | decode w.h5 --model wan --output a.y4m --vae_tile small | vae_tile 'small' ; auto, 0 or WIDTHxHEIGHT
width alone     | 2 | decode w.h5 --model wan --output a.y4m --vae_tile 64 | vae_tile '64'
odd width       | 2 | plan --model wan --vae_tile 60x64 | width 60 ; 56 or 64
odd height      | 2 | plan --model wan --vae_tile 64x61 | height 61 ; 56 or 64
too small       | 2 | plan --model wan --vae_tile 0x64 | width 0 ; 8..65536
END

done_testing
