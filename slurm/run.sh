# run.sh - what the batch scripts share: a job file, started and started again
# shellcheck shell=bash disable=SC2154 # script, here: of the script that sources this
#
# Sourced by generate.sbatch, chain.sbatch and array.sbatch; does nothing by itself. A
# step is one start of the program on all ranks. What it ends with decides:
#
#     0, 2, 3, 4                     done, or trying again cannot help: the job ends
#     75                             stopped with a checkpoint: the job runs again; so
#                                    does 138, told to stop before it had begun
#     5 110 134 137 139 143 205      a rank, device or node failed: a new step, which
#                                    goes on from the checkpoint
#     anything else                  the launcher itself failed: the job ends
#
# Prompts are in job files. No text of a user is ever part of a command: names of files
# go from argument to argument, and those with control characters are refused.
#
# Settings, to be changed in site.sh beside this file:

framefleet=framefleet       # the program; a name in PATH or a path
launcher=auto               # srun, mpirun, or auto: srun where Slurm has PMIx
srun_flags=()               # more for srun
mpirun_flags=(--bind-to none) # more for mpirun
max_restarts=100            # of one job; then it ends with code 1
tries=3                     # steps that may fail before the job does
pause_s=5                   # before the second step, twice that before the third

say()
{
    printf '%s: %s\n' "$script" "$*" >&2
}

die()
{
    say "${*:2}"
    exit "$1"
}

# ---- what is handed over -------------------------------------------------------------

# plain WHAT VALUE...: nothing that a log or a terminal would obey
plain()
{
    local what=$1 value

    shift
    for value; do
        case $value in
        '') die 2 "no $what" ;;
        *[[:cntrl:]]*) die 2 "control character in the $what $(printf '%q' "$value")" ;;
        esac
    done
}

# Flags for the program: settings and paths, never a prompt, which ps and Slurm show.
flags_check()
{
    local flag

    for flag; do
        plain flag "$flag"
        case ${flag//-/_} in
        __prompt | __prompt=* | __negative_prompt | __negative_prompt=*)
            die 2 "prompts belong into the job file, not on a command line"
            ;;
        esac
    done
}

# Slurm keeps a copy of the submitter's environment, and every rank gets it.
secrets_warn()
{
    local name found=

    for name in $(compgen -e); do
        case ${name^^} in
        SLURM_* | PMIX_* | OMPI_*) ;;
        *TOKEN* | *SECRET* | *PASSW* | *CREDENTIAL* | *API_KEY* | *APIKEY* | \
            *ACCESS_KEY* | *PRIVATE_KEY*)
            found="$found $name"
            ;;
        esac
    done
    [ -z "$found" ] || say "Slurm keeps these variables with the job:$found;" \
        "unset them, or submit with --export=NONE"
}

# ---- what Slurm knows ----------------------------------------------------------------

# When the job ends, in seconds since 1970, for the program to stop in time. Slurm before
# 23.02 does not say unless it is asked.
end_time()
{
    local end=${SLURM_JOB_END_TIME:-}

    [ -n "$end" ] || end=$(SLURM_TIME_FORMAT=%s squeue -h -j "$slurm_id" -o %e 2>/dev/null)
    case $end in
    '' | *[!0-9]*) say "no end time known: the program stops on signals only" ;;
    *) export FRAMEFLEET_JOB_END=$end ;;
    esac
}

# Does Slurm itself run jobs again that end with 75?
requeues_75()
{
    local list range

    list=$(scontrol show config 2>/dev/null | sed -n 's/^RequeueExit *= *//p')
    for range in ${list//,/ }; do
        case $range in
        *[!0-9-]*) ;;
        *) [ 75 -ge "${range%-*}" ] && [ 75 -le "${range#*-}" ] && return 0 ;;
        esac
    done
    return 1
}

# Has Slurm told the job to go? Then what a launcher ends with says nothing: mpirun ends
# with 1 or 205 although its ranks have written a checkpoint and returned 75.
leaving()
{
    local when

    [ "$told" -eq 0 ] || return 0
    when=$(SLURM_TIME_FORMAT=%s squeue -h -j "$slurm_id" -O PreemptTime:32 2>/dev/null)
    case ${when//[[:space:]]/} in
    '' | 0 | *[!0-9]*) return 1 ;;
    esac
}

# ---- steps ---------------------------------------------------------------------------

site_load()
{
    # shellcheck source=/dev/null
    [ ! -r "$here/site.sh" ] || . "$here/site.sh"
    plain program "$framefleet"
}

# Settings, and the environment of the ranks.
begin()
{
    site_load
    slurm_id=$SLURM_JOB_ID
    [ -z "${SLURM_ARRAY_TASK_ID:-}" ] ||
        slurm_id=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
    if [ "$launcher" = auto ]; then
        launcher=mpirun
        [[ $(srun --mpi=list 2>&1) != *pmix* ]] || launcher=srun
    fi
    # sbatch --export=NONE would leave the ranks without PATH; newer sruns do not take
    # the cores per task from the job.
    unset SLURM_EXPORT_ENV
    [ -z "${SLURM_CPUS_PER_TASK:-}" ] ||
        export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
    ulimit -c 0 # cores hold the environment
    secrets_warn
    end_time
    # TERM comes to ranks and script alike. The script must not die of it: Slurm kills
    # what a finished script leaves behind.
    told=0
    trap 'told=1' TERM
}

launch()
{
    case $launcher in
    srun) srun --mpi=pmix --kill-on-bad-exit=0 "${srun_flags[@]}" "$framefleet" "$@" ;;
    mpirun) mpirun -q "${mpirun_flags[@]}" "$framefleet" "$@" ;;
    *) die 2 "unknown launcher '$launcher': srun, mpirun or auto" ;;
    esac </dev/null
}

# work FILE [flags]: steps until one ends for good; returns what it ended with
work()
{
    local file=$1 try code

    shift
    case $file in
    -*) file=./$file ;;
    esac
    for ((try = 1; ; try++)); do
        launch resume "$file" --or_start "$@"
        code=$?
        case $code in
        0 | 2 | 3 | 4 | 75) return $code ;;
        138) return 75 ;;
        esac
        ! leaving || return 75
        case $code in
        5 | 110 | 134 | 137 | 139 | 143 | 205) ;;
        *) return $code ;;
        esac
        [ "$try" -lt "$tries" ] || return $code
        say "step $try ended with $code, once more in $((pause_s * try)) s"
        sleep $((pause_s * try)) &
        wait $!
        [ "$told" -eq 0 ] || return 75
    done
}

# again: the job has ended with 75 and is to run again; does not return
again()
{
    local restarts=${SLURM_RESTART_COUNT:-0}

    [ "$restarts" -lt "$max_restarts" ] ||
        die 1 "not finished after $restarts restarts; submit again to go on"
    # Cancelled, or Slurm itself moves the job: not for us to bring back.
    if [ "$told" -eq 0 ] && ! requeues_75; then
        scontrol requeue "$slurm_id" && sleep 600 # Slurm ends us
        say "no requeue here; submit again to go on, or use chain.sbatch"
    fi
    exit 75
}
