#!/usr/bin/env bash
# job_files.sh - JSON jobs: what they say wrong, and that they say the same as flags
. "$(dirname "$0")/lib.sh"

# ---- errors: all name the file

deep=$(printf '[%.0s' {1..40})$(printf ']%.0s' {1..40})
echo '{"prompt": "x", "promt": "y"}' >unknown.json
echo '{"prompt": "x", "infer_step": 4}' >unknown2.json
echo '{"prompt": "x", "seed": 1, "seed": 2}' >twice.json
echo '{"prompt": "x", "seed": 1, "base_seed": 2}' >alias.json
echo '{"prompt": 7}' >number.json
echo '{"seed": [1]}' >list.json
echo '{"seed": "many"}' >text.json
echo '{"seed": 1.5}' >half.json
echo '{"force": 3}' >flag.json
echo '{"num_frames": 98}' >frames.json
echo '{"prompt": "x"} trailing' >garbage.json
echo '{"prompt": "x",}' >comma.json
printf '{\n  "prompt": "x",\n  "seed": 1,\n}\n' >pretty.json
echo '{"prompt": '"$deep"'}' >deep.json
echo "$deep" >deeper.json
{
    printf '{"prompt": "'
    head -c 1100000 /dev/zero | tr '\0' a
    echo '"}'
} >long.json
printf '{"prompt": "a\0b"}' >nul.json
printf '{"prompt": "\xff"}' >latin.json
echo '{"prompt": "a\u0000b"}' >unul.json
echo '[1, 2]' >array.json
: >empty.json
printf ' \n\n' >blank.json
printf '\xef\xbb\xbf{"prompt": "x"}' >mark.json
printf '{"prompt": "x"}\n{"prompt": "y", "sed": 3}\n' >lines.json
printf '{"prompt": "x"}\n{"prompt": "y"\n' >cutlines.json
printf '{"output": "a.y4m"}\n{"output": "a.y4m"}\n' >same.json
printf '{"output": "a.y4m"}\n{"output": "b.y4m", "precision": "bf16"}\n' >mixed.json
printf '{"output": "a.y4m"}\n{"output": "b.y4m", "num_frames": 6}\n' >second.json
printf '{"output": "a.y4m"}\n{"output": "there.y4m"}\n' >later.json
echo '{"image": "cat.png"}' >image.json
echo '{"cpu_offload": true}' >offload.json
touch there.y4m
mkdir folder.json

J=(generate "${BASE[@]}" --output out.y4m)
table <<'END'
unknown key              | 2 | "${J[@]}" --job unknown.json      | 'unknown.json' ; unknown key 'promt' ; 'prompt'
unknown key, alias near  | 2 | "${J[@]}" --job unknown2.json     | unknown key 'infer_step' ; 'infer_steps'
key twice                | 3 | "${J[@]}" --job twice.json        | twice.json ; 'seed'
key and its other name   | 2 | generate --model wan --job alias.json | 'alias.json' ; 'base_seed' ; 'seed'
list for a number        | 3 | "${J[@]}" --job list.json         | 'list.json' ; 'seed'
text for a number        | 2 | generate --model wan --job text.json | 'text.json' ; seed 'many'
half a number            | 2 | generate --model wan --job half.json | 'half.json' ; seed ; 1.5
number for a flag        | 2 | generate --model wan --job flag.json | 'flag.json' ; force '3'
number for a text        | 3 | "${J[@]}" --job number.json       | 'number.json' ; 'prompt'
impossible frames        | 2 | generate --model wan --prompt x --job frames.json | num_frames 98 ; 97 and 101
trailing garbage         | 3 | "${J[@]}" --job garbage.json      | garbage.json
trailing comma           | 3 | "${J[@]}" --job comma.json        | comma.json
comma in the last line   | 3 | "${J[@]}" --job pretty.json       | 'pretty.json' ; byte 32
too deep                 | 3 | "${J[@]}" --job deep.json         | deep.json ; deep
too deep, bare           | 3 | "${J[@]}" --job deeper.json       | deeper.json ; deep
too long                 | 3 | "${J[@]}" --job long.json         | 'long.json' ; 1048576
NUL in it                | 3 | "${J[@]}" --job nul.json          | nul.json
not UTF-8                | 3 | "${J[@]}" --job latin.json        | latin.json ; UTF-8
NUL by escape            | 3 | "${J[@]}" --job unul.json         | unul.json
no object                | 3 | "${J[@]}" --job array.json        | array.json ; object
empty                    | 3 | "${J[@]}" --job empty.json        | empty.json
blank                    | 3 | "${J[@]}" --job blank.json        | blank.json
byte order mark          | 3 | "${J[@]}" --job mark.json         | mark.json
not there                | 3 | "${J[@]}" --job none.json         | 'none.json'
a folder                 | 3 | "${J[@]}" --job folder.json       | 'folder.json'
unknown key in line 2    | 2 | "${J[@]}" --job lines.json        | lines.json:2 ; 'sed' ; 'seed'
line 2 cut short         | 3 | "${J[@]}" --job cutlines.json     | cutlines.json:2
two jobs, one output     | 2 | generate "${BASE[@]}" --job same.json   | 'a.y4m' ; job 1 ; job 2
another precision        | 2 | generate "${BASE[@]}" --job mixed.json  | job 2 ; precision
job 2 impossible         | 2 | generate --model wan --prompt x --size 48x16 --job second.json | job 2 ; num_frames 6 ; 5 and 9
output of job 2 there    | 2 | generate "${BASE[@]}" --job later.json  | job 2 ; 'there.y4m' ; --force
not built                | 2 | "${J[@]}" --job image.json        | 'image.json' ; 'image' is not built yet
not built, switched on   | 2 | "${J[@]}" --job offload.json      | 'offload.json' ; not built yet
plan reads jobs too      | 2 | plan --model wan --job unknown.json | unknown key 'promt'
END

# ---- the same job from flags and from JSON

P="A cat sits on the table."
flags=(generate --model wan --prompt "$P" --negative_prompt "a dog" --num_frames 9
    --size 48x32 --steps 4 --shift 3 --guidance_scale 4.5 --seed 7 --sampler dpm++
    --fps 12 --threads 1)
makes "${flags[@]}" --output flags.y4m --save_latents flags.h5

cat >ours.json <<END
{"model": "wan", "prompt": "$P", "negative_prompt": "a dog", "num_frames": 9,
 "size": "48x32", "inference_steps": 4, "shift": 3, "guidance_scale": 4.5, "seed": 7,
 "sampler": "dpm++", "fps": 12, "threads": 1, "output": "ours.y4m",
 "save_latents": "ours.h5", "image": null, "offload": false, "use_usp": 0}
END
makes generate --job ours.json
same "JSON with our keys" flags.y4m ours.y4m
same "JSON with our keys, latents and attributes" flags.h5 ours.h5

cat >lightx2v.json <<END
{"model_path": "wan", "prompt": "$P", "negative_prompt": "a dog",
 "infer_steps": 4, "target_video_length": 9, "target_height": 32, "target_width": 48,
 "sample_guide_scale": 4.5, "sample_shift": 3, "seed": 7, "target_fps": 12,
 "scheduler": "dpm++", "threads": 1, "cpu_offload": false, "save_result_path": "lx.y4m"}
END
makes generate --job lightx2v.json --save_latents lx.h5
same "LightX2V's keys" flags.y4m lx.y4m
same "LightX2V's keys, latents and attributes" flags.h5 lx.h5

cat >published.json <<END
{"infer_steps": 4, "target_video_length": 9, "text_len": 512, "target_height": 32,
 "target_width": 48, "self_attn_1_type": "flash_attn3", "cross_attn_1_type":
 "flash_attn3", "cross_attn_2_type": "flash_attn3", "sample_guide_scale": 4.5,
 "sample_shift": 3, "enable_cfg": true, "cpu_offload": false}
END
common=(--model wan --task t2v --model_cls wan2.1 --prompt "$P" --negative_prompt "a dog"
    --seed 7 --sampler dpm++ --fps 12 --threads 1)
makes generate --job published.json "${common[@]}" --output published.y4m \
    --save_latents published.h5
same "a configuration as LightX2V publishes them" flags.y4m published.y4m
same "the same, latents and attributes" flags.h5 published.h5
sed -i 's/"enable_cfg": true/"enable_cfg": false/' published.json
makes generate --job published.json "${common[@]}" --output nocfg.y4m
makes "${flags[@]}" --guidance_scale 1 --output guidance1.y4m
same "enable_cfg false is a guidance of 1" nocfg.y4m guidance1.y4m

makes generate --ckpt_dir wan --prompt "$P" --negative_prompt "a dog" --frame_num 9 \
    --size '48*32' --sample_steps 4 --sample_shift 3 --sample_guide_scale 4.5 \
    --base_seed 7 --sample_solver dpm++ --fps 12 --threads 1 --save_file wan.y4m
same "Wan's flags" flags.y4m wan.y4m

makes generate --model-id=wan --prompt="$P" --negative-prompt="a dog" --num-frames=9 \
    --width=48 --height=32 --inference-steps=4 --shift=3.0 --guidance-scale=4.50 \
    --seed=7 --sampler=dpm++ --fps=12 --threads=1 --output=dashes.y4m
same "dashes and =" flags.y4m dashes.y4m

makes generate --job ours.json --seed 8 --output other.y4m --save_latents other.h5
differs "a flag wins over the file" flags.y4m other.y4m

# A clean file with the right bytes in another layout of lines, and in one line.
tr -d '\n' <ours.json | sed 's/ours/oneline/g' >oneline.json
makes generate --job oneline.json
same "a job in one line" flags.y4m oneline.y4m

# ---- several jobs of one launch give the bytes of separate launches

cat >several.json <<END
{"prompt": "$P", "seed": 1, "output": "j1.y4m", "save_latents": "j1.h5", "save_embeds": "e1.h5"}

{"prompt": "snow", "seed": 2, "num_frames": 9, "guidance_scale": 1, "output": "j2.y4m", "save_latents": "j2.h5"}
{"prompt": "$P", "seed": 1, "size": "32x32", "sampler": "euler", "output": "j3.y4m", "save_latents": "j3.h5"}
{"embeds": "e0.h5", "prompt": "$P", "seed": 1, "output": "j4.y4m", "save_latents": "j4.h5"}
END
L=(--model wan --steps 3 --threads 1)
S=(--size 48x16 --num_frames 5)
makes generate "${L[@]}" "${S[@]}" --prompt "$P" --seed 1 --output s1.y4m \
    --save_latents s1.h5 --save_embeds e0.h5
makes generate "${L[@]}" --size 48x16 --prompt snow --seed 2 --num_frames 9 \
    --guidance_scale 1 --output s2.y4m --save_latents s2.h5
makes generate "${L[@]}" --num_frames 5 --prompt "$P" --seed 1 --size 32x32 \
    --sampler euler --output s3.y4m --save_latents s3.h5
makes generate "${L[@]}" "${S[@]}" --prompt "$P" --embeds e0.h5 --seed 1 \
    --output s4.y4m --save_latents s4.h5
sed -i '1s/"seed"/"size": "48x16", "num_frames": 5, "seed"/
    3s/"seed"/"size": "48x16", "seed"/
    4s/"seed"/"num_frames": 5, "seed"/
    5s/"seed"/"size": "48x16", "num_frames": 5, "seed"/' several.json
makes generate "${L[@]}" --job several.json
for i in 1 2 3 4; do
    same "job $i in one launch" s$i.y4m j$i.y4m
    is "latents of job $i in one launch" "$("$PROBE" h5 s$i.h5 latents/x 4)" \
        "$("$PROBE" h5 j$i.h5 latents/x 4)"
done
same "text rows of a job in one launch" e0.h5 e1.h5

# ---- what a job is, and where each value comes from

run generate --job ours.json --seed 8 --print_job
is "print_job succeeds" "$code" 0
mv "$root/out" printed.json
is "print_job: values" \
    "$("$PROBE" json printed.json seed.value fps.value size.value vae_chunk.value | tr '\n' ' ')" \
    "8 12 48x32 1 "
is "print_job: sources" \
    "$("$PROBE" json printed.json seed.source fps.source vae_chunk.source base_num_frames.source | tr '\n' ' ')" \
    "flag file default default "
run generate --model wan --prompt x --print_job
mv "$root/out" printed.json
is "print_job: the model's own" \
    "$("$PROBE" json printed.json inference_steps.value inference_steps.source size.value shift.value | tr '\n' ' ')" \
    "50 model 832x480 5 "
run generate --model sky --prompt x --print_job
mv "$root/out" printed.json
is "print_job: SkyReels' own" \
    "$("$PROBE" json printed.json inference_steps.value fps.value size.value shift.value num_frames.value | tr '\n' ' ')" \
    "30 24 960x544 8 97 "
[ ! -e video.mp4 ] && ok || not_ok "print_job" "has made a video"

done_testing
