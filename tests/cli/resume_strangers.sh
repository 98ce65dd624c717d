#!/usr/bin/env bash
# resume_strangers.sh - a checkpoint from a stranger has nothing written elsewhere
#
# Its block and digest are right: they say that the file is whole, not whose it is.
. "$(dirname "$0")/lib.sh"

mkdir "$root/victim" deep deep/.hidden elsewhere
echo precious >"$root/victim/file"
echo precious >precious.h5
ln -s "$root/victim" deep/way-out
cp -R wan elsewhere/wan
V=$root/victim

STEPS=12
ARGS=(--model wan --prompt "A cat" --size 48x16 --num_frames 5 --steps $STEPS --threads 1)
is "stopped" "$("$PROBE" signal 10 "denoise 5/" "$FF" generate "${ARGS[@]}" \
    --output good.y4m --checkpoint_every 1 2>"$root/err")" "exit 75"
good=$(ls -d good.y4m.checkpoints/ck-* | tail -1)

# launched MEMBERS: evil/x.y4m.checkpoints is of a launch with these members as well
launched()
{
    rm -rf evil
    mkdir evil
    "$PROBE" relaunch "$good" '{"model": "wan", "prompt": "A cat", "size": "48x16",
 "num_frames": 5, "inference_steps": 12, "threads": 1'"$1"'}' \
        evil/x.y4m.checkpoints || not_ok "relaunch" "$1"
    evil=$(ls -d evil/x.y4m.checkpoints/ck-*)
}

outside()
{
    (cd "$V" && find . -type f -exec cat {} + -print | sort)
}
there=$(outside)

# ---- names that lead out: of a file, and of its folder

while IFS='|' read -r key path; do
    launched ", \"$key\": \"$path\""
    before=$(files)
    for subject in "$evil" evil/x.y4m evil/x.y4m.checkpoints; do
        [ "$subject" != "$evil" ] && [ "$key$path" != "save_latents$V/file" ] && continue
        run resume "$subject"
        refused "$key $path" 3 "would have $key written to ; --$key"
    done
    is "$key $path: files" "$(files)" "$before"
    is "$key $path: outside" "$(outside)" "$there"
done <<END
output|$V/new.y4m
output|../victim/new.y4m
output|deep/way-out/new.y4m
output|deep/.hidden/new.y4m
output|.hidden.y4m
output|/tmp/framefleet-stranger.y4m
save_latents|$V/file
save_latents|$V/new.h5
save_latents|../victim/file
save_latents|deep/../../victim/file
save_latents|deep/way-out/file
save_latents|.bashrc
save_latents|deep/.hidden/x
save_embeds|$V/file
save_embeds|deep/way-out/new.h5
save_noise|$V/file
save_noise|../victim/new.h5
log_json|$V/file
log_json|deep/way-out/file
log_json|.profile
END

# ---- what only a user can say

for member in '"force": true' '"prompt_file": "/etc/passwd"' '"job": "x.json"' \
    '"print_job": true' '"help": true' '"on_existing": "restart"' \
    '"accept_change": "ring"' '"or_start": true'; do
    launched ", $member"
    before=$(files)
    run resume "$evil"
    refused "$member" 3 "which only a user can say"
    is "$member: files" "$(files)" "$before"
done
for text in '{"nonsense": 1}' '[]' '{' '' '{"prompt": "A dog"}'; do
    rm -rf evil
    mkdir evil
    "$PROBE" relaunch "$good" "$text" evil/x.y4m.checkpoints
    run resume evil/x.y4m
    is "launch '$text'" "$([ "$code" -eq 2 ] || [ "$code" -eq 3 ]; echo $?)" 0
done

# A job is no video, whatever it is called.
printf '{"model": "wan", "prompt": "x", "force": true, "output": "%s/file"}' "$V" >v.mp4
cp v.mp4 v.y4m
for video in v.mp4 v.y4m; do
    makes resume $video --or_start
    is "a job called $video" "$(cat "$root/err")" "already done: '$video'"
done
is "a job called a video: outside" "$(outside)" "$there"

# ---- what may be, and what the user says

launched ', "save_latents": "deep/x.h5", "output": "evil/y.y4m", "log_json": "log"'
makes resume "$evil"
[ -s deep/x.h5 ] && [ -s evil/y.y4m ] && [ -s log ] && ok || not_ok "inside" "not made"
launched ", \"save_latents\": \"$V/x.h5\", \"output\": \"$V/x.y4m\""
makes resume "$evil" --save_latents "$V/x.h5" --output "$V/x.y4m"
[ -s "$V/x.h5" ] && [ -s "$V/x.y4m" ] && ok || not_ok "said as flags" "not made"

# The folder of the output is one that the checkpoints are of.
mkdir far
cp -R good.y4m.checkpoints far/
here=$(pwd)
(cd elsewhere && timeout 300 "$FF" resume "$here/far/good.y4m" 2>"$root/err") && ok ||
    not_ok "from another folder" "exit code $?"
[ -s far/good.y4m ] && ok || not_ok "from another folder" "no video"

done_testing
