#!/usr/bin/env bash
# failures.sh - a rank that fails, dies or is told to stop: one message, no hang
. "$(dirname "$0")/program.sh"

JOB=("${BASE[@]}" --output out.y4m)
LONG=(--model wan --prompt cat --size 144x112 --num_frames 17 --steps 1000 --threads 1
    --output out.y4m --save_latents out.h5)

# Each rank runs in a folder of its own; only there can one be given another world.
# $RANK is its number.
cat >apart.sh <<'S'
RANK=$OMPI_COMM_WORLD_RANK
mkdir -p "rank$RANK" && cd "rank$RANK" || exit 1
eval "$SPOIL"
exec "$@"
S

# apart N SPOIL ARGS...: run where SPOIL has been evaluated on every rank
apart()
{
    local n=$1 start

    export SPOIL=$2
    shift 2
    start=$(now)
    "${MPIRUN[@]}" -n "$n" sh apart.sh "$FF" "$@" >"$root/out" 2>"$root/err" </dev/null
    code=$?
    seconds=$(since "$start")
}

ranks 4 generate --model nowhere --prompt x
once "bad model everywhere" 3 "cannot open 'nowhere'"

apart 4 '[ $RANK = 2 ] || ln -s ../wan wan' generate "${JOB[@]}"
once "bad model on rank 2" 3 "rank 2 on $(hostname | cut -c1-60): cannot open 'wan'"
no_hang "bad model on rank 2" "$seconds"
gone "bad model on rank 2"
rm -rf rank?

apart 3 'ln -s ../wan wan; [ $RANK = 1 ] && set -- "$@" --seed 7' generate "${JOB[@]}"
once "other arguments on rank 1" 2 "rank 1 on "
no_hang "other arguments on rank 1" "$seconds"
rm -rf rank?

apart 3 'ln -s ../wan wan; [ $RANK = 0 ] || rm -f text' generate "${BASE[@]}" \
    --prompt_file text
once "prompt file of rank 0" 3 "cannot open prompt 'text'"
rm -rf rank?

# A model whose transformer ends early, on the rank that reads it for all.
cp -r wan short
tensors=$(ls short/*.safetensors | head -1)
truncate -s -64 "$tensors"
ranks 3 generate "${JOB[@]}" --model short
once "short model" 3 "framefleet: "
gone "short model"

# A weight that is infinite, found by the rank that reads it.
cp -r wan endless
tensors=$(ls endless/*.safetensors | head -1)
header=$(od -An -N8 -tu8 "$tensors" | tr -d ' ')
at=$(head -c $((header + 8)) "$tensors" |
    sed 's/.*"blocks.1.self_attn.q.weight":{[^}]*"data_offsets":\[\([0-9]*\),.*/\1/')
printf '\x80\x7f' | dd of="$tensors" bs=1 seek=$((8 + header + at + 400)) conv=notrunc \
    2>"$root/err"
for how in "node host" "node device" "each host" "once device"; do
    ranks 3 generate "${JOB[@]}" --model endless --precision fp8 \
        --read_weights "${how% *}" --convert_weights "${how#* }"
    once "infinite weight, $how" 3 "tensor 'blocks.1.self_attn.q.weight': row 2 is not finite"
    no_hang "infinite weight, $how" "$seconds"
    gone "infinite weight, $how"
done

ranks 3 generate "${JOB[@]}" --mesh g2u2
once "impossible mesh" 2 "nearest are "
SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=0 run generate "${JOB[@]}"
refused "srun without PMIx" 2 "add --mpi=pmix"
SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1 run generate "${JOB[@]}"
is "srun without PMIx, second task" "$code$(cat "$root/out" "$root/err")" 2

# Ranks that cannot agree any more end by force.
start=$(now)
"${MPIRUN[@]}" -n 3 "$(dirname "$FF")/ranks_world" torn >"$root/out" 2>"$root/err"
is "torn world: exit code" "$?" 5
no_hang "torn world" "$(since "$start")"

# begin N: start a long run in the background and wait for its third step
begin()
{
    : >"$root/err"
    "${MPIRUN[@]}" -n "$1" "$FF" generate "${LONG[@]}" >"$root/out" 2>"$root/err" </dev/null &
    job=$!
    said "^denoise 3/"
}

# end: what became of it
end()
{
    local start

    start=$(now)
    wait "$job"
    code=$?
    seconds=$(since "$start")
}

for signal in INT TERM; do
    begin 3
    kill -s $signal "$(ours | tail -1)"
    end
    once "$signal to one rank" 75 "stopped on request at row"
    no_hang "$signal to one rank" "$seconds"
    gone "$signal to one rank"
    is "$signal to one rank: outputs" "$(ls -A | grep '^\.\?out')" out.y4m.checkpoints
    rm -rf out.y4m.checkpoints
done

for which in 1 3; do
    begin 3
    kill -s KILL "$(ours | sed -n "${which}p")"
    end
    is "dead rank: exit code" "$code" 137
    no_hang "dead rank" "$seconds"
    gone "dead rank"
    is "dead rank: outputs" "$(ls | grep '^out')" out.y4m.checkpoints
    rm -rf out.y4m.checkpoints
done
done_testing
