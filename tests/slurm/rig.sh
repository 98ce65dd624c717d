# rig.sh - a Slurm of our own on this machine, for tests: up, down, and what its jobs do
# shellcheck shell=bash
#
# Several virtual nodes with four fake GPUs each, without systemd, cgroups or a database,
# as root or as an ordinary user; nothing outside one folder, two runs do not meet.
# Sourced after tests/ranks/program.sh, whose $root it uses. Ends the test with exit code
# 77 and the reason where Slurm and munge are not installed or do not start.
#
#     slurm_up NODES [LINE...]     start it, with more lines for slurm.conf
#     slurm_set LINE               replace a line of slurm.conf while it runs
#     slurm_says JOB STATE...      wait until the job's state is one of these
#     slurm_log TEXT [SINCE]       wait until slurmctld's log has it
#
# It goes down when the test ends. Partitions: main, whose jobs make room within 15 s,
# and urgent, which takes the nodes of main.
PATH=$PATH:/usr/sbin:/sbin
slurm=$root/slurm

give_up()
{
    echo "skipped: $1"
    exit 77
}

# The daemons of this Slurm and the step daemons: all have its configuration in their
# environment, except munged.
slurm_pids()
{
    local p

    for p in $(pgrep -x 'slurmctld|slurmd|slurmstepd|slurmscriptd|srun|sbatch|salloc'); do
        grep -qzxF "SLURM_CONF=$SLURM_CONF" "/proc/$p/environ" 2>/dev/null && echo "$p"
    done
    cat "$slurm/run/munged.pid" 2>/dev/null
}

slurm_down()
{
    local i p

    p=$(jobs -p)
    [ -z "$p" ] || kill $p 2>/dev/null
    [ ! -e "$slurm/run/slurmctld.pid" ] || timeout 20 scancel -u "$(id -un)" 2>/dev/null
    for ((i = 0; i < 100; i++)); do
        [ -n "$(ours)" ] || break
        sleep 0.1
    done
    for ((i = 0; i < 100; i++)); do
        p=$(slurm_pids)
        [ -n "$p" ] || break
        [ $i -eq 0 ] && kill $p 2>/dev/null
        [ $i -eq 60 ] && kill -KILL $p 2>/dev/null
        sleep 0.1
    done
}

# So many ports in a row that nobody listens at.
slurm_ports()
{
    local base p tries

    for ((tries = 0; tries < 50; tries++)); do
        base=$((20000 + (RANDOM * 7 + $$) % 12000))
        for ((p = base; p < base + $1; p++)); do
            (: <"/dev/tcp/127.0.0.1/$p") 2>/dev/null && continue 2
        done
        echo $base
        return
    done
}

slurm_munge()
{
    head -c 128 /dev/urandom >"$slurm/munge.key"
    chmod 400 "$slurm/munge.key"
    munged --key-file="$slurm/munge.key" --socket="$slurm/munge.sock" \
        --pid-file="$slurm/run/munged.pid" --log-file="$slurm/log/munged.log" \
        --seed-file="$slurm/run/munged.seed" --num-threads=2 --force 2>"$root/err" ||
        give_up "munged does not start: $(head -1 "$root/err")"
}

# Devices that nobody answers: nodes that only root can make, or files.
slurm_gpus()
{
    local i

    for i in 0 1 2 3; do
        mknod "$slurm/gpu$i" c 195 "$i" 2>/dev/null || : >"$slurm/gpu$i"
    done
    echo "NodeName=n[1-$1] Name=gpu File=$slurm/gpu[0-3]" >"$slurm/gres.conf"
}

slurm_conf()
{
    local nodes=$1 port=$2

    shift 2
    echo "CgroupPlugin=cgroup/v1" >"$slurm/cgroup.conf"
    cat >"$SLURM_CONF" <<CONF
ClusterName=onebox
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$slurm/munge.sock,cred_expire=12
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=15
MessageTimeout=30
SlurmctldTimeout=60
SlurmdTimeout=120
MinJobAge=600
SlurmdParameters=config_overrides
TmpFS=$slurm/tmp/%n
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool/%n
SlurmctldPidFile=$slurm/run/slurmctld.pid
SlurmdPidFile=$slurm/run/slurmd.%n.pid
SlurmctldLogFile=$slurm/log/slurmctld.log
SlurmdLogFile=$slurm/log/slurmd.%n.log
GresTypes=gpu
$(printf '%s\n' "$@")
NodeName=n[1-$nodes] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + nodes))] CPUs=4 Sockets=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=1000 Gres=gpu:4
PartitionName=main Nodes=n[1-$nodes] Default=YES MaxTime=60 State=UP PriorityTier=1 GraceTime=15
PartitionName=urgent Nodes=n[1-$nodes] MaxTime=60 State=UP PriorityTier=10 PreemptMode=off
CONF
}

slurm_idle()
{
    local i

    for ((i = 0; i < 1200; i++)); do
        [ "$(sinfo -h -o %T -p main 2>/dev/null)" = idle ] && return
        sleep 0.1
    done
    return 1
}

slurm_up()
{
    local nodes=$1 tool port i

    shift
    for tool in slurmctld slurmd srun sbatch munged; do
        command -v $tool >/dev/null || give_up "no $tool here"
    done
    for ((i = 1; i <= nodes; i++)); do
        mkdir -p "$slurm/spool/n$i" "$slurm/tmp/n$i"
    done
    mkdir -p "$slurm"/{state,run,log}
    chmod 755 "$root" "$slurm"
    export SLURM_CONF=$slurm/slurm.conf
    trap 'slurm_down; chmod -R u+rwx "$root"; rm -rf "$root"' EXIT
    trap 'exit 1' INT TERM HUP
    slurm_munge
    slurm_gpus "$nodes"
    port=$(slurm_ports $((nodes + 1)))
    slurm_conf "$nodes" "$port" "$@"
    slurmctld >"$root/err" 2>&1 ||
        give_up "slurmctld does not start: $(head -1 "$root/err")"
    for ((i = 1; i <= nodes; i++)); do
        slurmd -N "n$i" >"$root/err" 2>&1 ||
            give_up "slurmd does not start: $(head -1 "$root/err")"
    done
    slurm_idle || give_up "slurm's nodes do not come up"
    [[ $(srun --mpi=list 2>&1) == *pmix* ]] || give_up "this Slurm has no PMIx"
    # Nodes share one /dev/shm and one name: no shared memory between their ranks.
    export OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo \
        OMPI_MCA_oob_tcp_if_include=lo
    [ "$(id -u)" -ne 0 ] ||
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
}

slurm_set()
{
    sed -i "s|^${1%%=*}=.*|$1|" "$SLURM_CONF"
    scontrol reconfigure
}

slurm_state()
{
    squeue -h -t all -j "$1" -o %T 2>/dev/null | head -1
}

slurm_says()
{
    local job=$1 i state

    shift
    for ((i = 0; i < 6000; i++)); do
        state=$(slurm_state "$job")
        case " $* " in *" $state "*) return 0 ;; esac
        sleep 0.1
    done
    echo "job $job is $state, not $*"
    return 1
}

slurm_log()
{
    local i

    for ((i = 0; i < 6000; i++)); do
        grep -q -- "$1" < <(tail -n "+${2:-1}" "$slurm/log/slurmctld.log") && return 0
        sleep 0.1
    done
    echo "slurmctld has not said '$1'"
    return 1
}
