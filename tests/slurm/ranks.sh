#!/usr/bin/env bash
# ranks.sh - ranks started by srun, and by mpirun inside a job, without any script of ours
here=$(realpath "$(dirname "$0")")
. "$here/../ranks/program.sh"
. "$here/rig.sh"

slurm_up 2
JOB=(--model wan --prompt cat --size 144x112 --num_frames 17 --steps 3 --threads 1)

# slurmed COMMAND...: run it; $code, ../out, ../err
slurmed()
{
    "$@" >"$root/out" 2>"$root/err" </dev/null
    code=$?
}

makes generate "${JOB[@]}" --output one.y4m --save_latents one.h5
slurmed srun --mpi=pmix -N 2 --ntasks-per-node=2 "$FF" generate "${JOB[@]}" \
    --output srun.y4m --save_latents srun.h5
is "srun --mpi=pmix: exit code" "$code" 0
same "srun --mpi=pmix: video" one.y4m srun.y4m
same "srun --mpi=pmix: latents" one.h5 srun.h5

slurmed srun --mpi=pmix -n 3 "$FF" generate "${JOB[@]}" --model nowhere
once "srun, bad model" 3 "cannot open 'nowhere'"

slurmed srun --mpi=none -n 3 "$FF" generate "${JOB[@]}" --output none.y4m
once "srun without PMIx" 2 "started by srun without PMIx: add --mpi=pmix"

slurmed salloc -N 2 --ntasks-per-node=1 mpirun -q "$FF" generate "${JOB[@]}" \
    --output mpirun.y4m
is "mpirun inside a job: exit code" "$code" 0
same "mpirun inside a job: video" one.y4m mpirun.y4m
done_testing
