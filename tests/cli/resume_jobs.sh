#!/usr/bin/env bash
# resume_jobs.sh - going on from a job file: what is done, begun, damaged or not there
. "$(dirname "$0")/lib.sh"

P="A cat sits on the table."
STEPS=12

# job NAME [MEMBERS]: a job file with one job
job()
{
    printf '{"model": "wan", "prompt": "%s", "size": "48x16", "num_frames": 5,
 "inference_steps": %d, "threads": 1, "checkpoint_every": 1, "output": "%s.y4m",
 "save_latents": "%s.h5"%s}\n' "$P" $STEPS "$1" "$1" "${2:-}" >"$1.json"
}

# stopped ARGS...: run until row 5 and ask for a checkpoint
stopped()
{
    is "stopped: $*" "$("$PROBE" signal 10 "denoise 5/" "$FF" "$@" 2>"$root/err")" "exit 75"
}

# says NAME TEXT: on stderr of the last run
says()
{
    grep -qF -- "$2" "$root/err" && ok || not_ok "$1" "does not say '$2'"
}

# refused_as NAME CODE TEXT: the last line on stderr
refused_as()
{
    is "$1: exit code" "$code" "$2"
    tail -1 "$root/err" | grep -q "^framefleet: .*$3" && ok || not_ok "$1" "not said: $3"
}

job want
makes generate --job want.json

# ---- nothing there, begun, done

job a
table <<'END'
nothing there            | 3 | resume a.json | nothing to go on with ; 'a.y4m' ; a.y4m.checkpoints ; --or_start
nothing there, --job     | 3 | resume --job a.json | nothing to go on with
no such job file         | 3 | resume none.json --or_start | 'none.json'
two subjects             | 2 | resume a.json b.json | say what to go on with
output without a job     | 3 | resume b.y4m | nothing to go on with ; 'b.y4m'
output, no model         | 2 | resume b.y4m --or_start | missing model
END
table <<'END'
a flag of resume         | 2 | generate --job a.json --or_start | 'or_start' is a flag of framefleet resume
another flag of resume   | 2 | generate --job a.json --accept_change crf | 'accept_change' is a flag
END
touch a.y4m.checkpoints
ln -s wan b.y4m.checkpoints
job b
table <<'END'
a file for a folder      | 3 | resume a.json --or_start | cannot open the folder of checkpoints 'a.y4m.checkpoints'
a link for a folder      | 3 | resume b.json --or_start | cannot open the folder of checkpoints 'b.y4m.checkpoints'
END
rm a.y4m.checkpoints b.y4m.checkpoints
stopped resume a.json --or_start
[ -d a.y4m.checkpoints ] && ok || not_ok "stopped" "no checkpoints"
makes resume a.json --or_start
says "goes on" "going on from ck-"
same "a job file: video" want.y4m a.y4m
is "a job file: latents" "$("$PROBE" h5 a.h5 latents/x 4)" "$("$PROBE" h5 want.h5 latents/x 4)"
[ ! -e a.y4m.checkpoints ] && ok || not_ok "a job file" "checkpoints are left"

# Done: nobody looks at the model, nothing changes.
mv wan away
before=$(files)
for subject in a.json a.y4m a.y4m.checkpoints; do
    makes resume "$subject" --or_start
    is "done, $subject: one line" "$(cat "$root/err")" "already done: 'a.y4m'"
    makes resume "$subject"
done
is "done: files are as they were" "$(files)" "$before"
mv away wan

# The same without --or_start, and from flags.
job b
stopped generate --job b.json
makes resume b.json
same "without --or_start" want.y4m b.y4m
FLAGS=(--model wan --prompt "$P" --size 48x16 --num_frames 5 --steps $STEPS --threads 1)
stopped resume c.y4m --or_start "${FLAGS[@]}"
makes resume c.y4m --or_start "${FLAGS[@]}"
says "from flags" "going on from ck-"
same "from flags" want.y4m c.y4m

# A checkpoint under any name, anywhere.
job d
stopped generate --job d.json
mkdir elsewhere
cp "$(ls -d d.y4m.checkpoints/ck-* | tail -1)" elsewhere/saved
makes resume elsewhere/saved --output e.y4m --save_latents e.h5
same "a copy of a checkpoint" want.y4m e.y4m

# ---- a video that is there beside its checkpoints is made again

echo "an old video" >d.y4m
makes resume d.json
same "a video beside checkpoints" want.y4m d.y4m

# ---- damage: never a silent start

job f
stopped generate --job f.json
cp -R f.y4m.checkpoints f.kept
for file in f.y4m.checkpoints/ck-*; do
    dd if=/dev/zero of="$file" bs=1 seek=9000 count=64 conv=notrunc 2>/dev/null
done
n=$(ls f.y4m.checkpoints/ck-* | wc -l)
before=$(files)
for flags in "" --or_start "--or_start --on_existing refuse"; do
    # shellcheck disable=SC2086
    run resume f.json $flags
    is "none valid: exit code $flags" "$code" 3
    is "none valid: all reasons $flags" "$(grep -c 'rejected: its bytes are not' "$root/err")" "$n"
    says "none valid $flags" "no valid checkpoint in 'f.y4m.checkpoints': $n rejected"
done
run resume f.y4m --on_existing restart
is "none valid, the job is not known" "$code" 3
is "none valid: files are as they were" "$(files)" "$before"
makes resume f.json --on_existing restart
says "restart" "starting again, as --on_existing restart says"
same "restart" want.y4m f.y4m

# restart does not throw away what is valid
rm f.y4m f.h5
mv f.kept f.y4m.checkpoints
makes resume f.json --on_existing restart
says "restart of a valid one" "going on from ck-"

# ---- another job

job g
stopped generate --job g.json
cp g.json mine.json
job g ', "seed": 7, "shift": 3'
table <<'END'
another job              | 3 | resume g.json | g.y4m.checkpoints ; of another job ; 'seed' was 42, is 7 ; 'shift' was 5, is 3
another job, --or_start  | 3 | resume g.json --or_start | of another job ; 'seed' was 42, is 7
another job, restart     | 3 | resume g.json --on_existing restart | of another job
END
makes resume mine.json
same "its own job" want.y4m g.y4m

# A finished video that carries its job.
# h_frames does not, and a name is all there is.
for out in h.mp4 h_frames; do
    job h ', "enable_cfg": false, "guidance_scale": 4, "seed": 3'
    sed -i "s/h\.y4m/$out/" h.json
    if ! "$FF" resume h.json --or_start --force 2>"$root/err"; then
        skip "$out" "built without FFmpeg"
        continue
    fi
    makes resume h.json --or_start
    is "$out: done" "$(cat "$root/err")" "already done: '$out'"
    makes resume "$out"
    [ $out == h.mp4 ] || continue
    run resume h.json --or_start --seed 4 --prompt "A dog"
    refused "$out: of another job" 3 \
        "the finished video '$out' is of another job ; 'seed' was 3, is 4 ; 'prompt' was"
    makes resume h.json --crf 3 --accept_change crf
    makes resume h.json --threads 2 --force
done

# ---- a prompt is data, through job file, checkpoint, resume, and into the video

hostile()
{
    printf '%s' "$1" >"$root/prompt"
    for name in plain begun; do
        rm -rf $name.y4m* $name.h5
        printf '{"model": "wan", "prompt": "%s", "size": "48x16", "num_frames": 5,
 "inference_steps": %d, "threads": 1, "checkpoint_every": 1, "output": "%s.y4m",
 "save_latents": "%s.h5"}' "$1" $STEPS $name $name >$name.json
    done
    makes generate --job plain.json
    stopped resume begun.json --or_start
    makes resume "$2"
    same "prompt '${1:0:40}': video" plain.y4m begun.y4m
    same "prompt '${1:0:40}': latents and the job in them" plain.h5 begun.h5
}

# As JSON writes them: quotes, substitution, newlines, ESC, commas, marks, surrogates.
hostile 'a\"; touch pwned; echo \"' begun.json
hostile '$(touch pwned) `touch pwned` ${IFS} %s%n %1000000d' begun.y4m
hostile 'one\ntwo\r\n\tthree\u001b[2J\u0007\u007f' begun.json
hostile 'left \u202eright\u202c \ud83d\ude00 é, 猫, &amp; <b> \\ / \u2028' begun.y4m
hostile "$(head -c 60000 /dev/zero | tr '\0' 'a')" begun.json
[ ! -e pwned ] && ok || not_ok "prompts" "a prompt was run"
"$PROBE" attr begun.h5 job | grep -q 'aaaa' && ok || not_ok "prompts" "not in the latents"
long=$(head -c 70000 /dev/zero | tr '\0' 'a')
printf '{"model": "wan", "prompt": "%s", "output": "long.y4m", "checkpoint_every": 1,
 "size": "48x16", "num_frames": 5}' "$long" >long.json
run resume long.json --or_start
refused_as "a prompt too long for checkpoints" 2 "longer than 65536 bytes"

# ---- several jobs of one file

several()
{
    rm -rf s?.y4m s?.y4m.checkpoints
    for i in 1 2 3; do
        job s$i
        tr -d '\n' <s$i.json | sed 's/, "save_latents": "[^"]*"//'
        echo
    done >several.json
}
several
table <<'END'
none of several          | 3 | resume several.json | nothing to go on with ; 's1.y4m'
END
cp want.y4m s1.y4m
"$PROBE" signal 10 "denoise 5/" "$FF" generate --job s2.json 2>/dev/null >"$root/how"
is "job 2 is stopped" "$(cat "$root/how")" "exit 75"
rm -f s2.h5
makes resume several.json
says "job 1 of 3" "already done: 's1.y4m'"
says "job 2 of 3" "going on from ck-"
for i in 1 2 3; do
    same "job $i of 3" want.y4m s$i.y4m
done
makes resume several.json
is "all 3 done" "$(grep -c 'already done' "$root/err")" 3
several
makes resume several.json --or_start
for i in 1 2 3; do
    same "job $i of 3, started" want.y4m s$i.y4m
done

done_testing
