#!/usr/bin/env bash
# quickstart.sh - from a fresh clone to a first video, on any machine, with one command
#
# Installs what is missing, builds the program for the CPU (and for CUDA if its compiler
# is here) and generates demo.mp4 on two ranks, with the trained demonstration model or,
# where its weights are not there, with a random one of the same kind; demo.png shows
# frames of it. A second run finds everything done and only says where the video is.
# TRAINED=FOLDER takes a trained model from there.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=build/cpu/bin
random=build/demo-model
trained=${TRAINED:-tests/demo-model/trained}
video=demo.mp4
picture=demo.png

build()
{
    ./launcher/setup.sh
    cmake --preset cpu
    cmake --build --preset cpu --parallel "$(nproc)" --target framefleet make_demo_model
    if ./launcher/have_cuda.sh; then
        cmake --preset gpu
        cmake --build --preset gpu --parallel "$(nproc)" --target framefleet
    fi
}

# What the trained model knows is in tests/demo-model/README.md.
model_choose()
{
    if [ -f "$trained/config.json" ]; then
        model=$trained
        newest=$trained/config.json
        shows="It shows what the prompt says."
        job=(--prompt "a large red star moving to the right on a navy background"
            --negative_prompt "" --fps 16 --num_frames 33 --inference_steps 30
            --guidance_scale 4 --shift 3)
    else
        make_random
        model=$random
        newest=$random/made
        shows="The model is random: it shows moving colours, not a boat."
        job=(--prompt "a small boat on a calm lake at sunrise" --num_frames 17
            --inference_steps 8)
    fi
}

# The random model is made anew only when the program that makes it has changed.
make_random()
{
    if [ "$random/made" -nt "$bin/make_demo_model" ]; then
        return
    fi
    rm -rf "$random"
    "$bin/make_demo_model" "$random"
    touch "$random/made"
}

# The video is made anew only when the program or the model has changed.
make_video()
{
    local ranks=(mpirun -q -n 2 --oversubscribe --bind-to none)
    local threads=$((($(nproc) + 1) / 2))

    if [ "$picture" -nt "$bin/framefleet" ] && [ "$picture" -nt "$newest" ]; then
        return
    fi
    [ "$(id -u)" -ne 0 ] || ranks+=(--allow-run-as-root)
    "${ranks[@]}" "$bin/framefleet" generate --model "$model" --output "$video" --force \
        --size 128x128 --seed 7 --threads "$threads" "${job[@]}"
    "$bin/framefleet" sheet "$video" "$picture" --columns 6 --force
}

build
model_choose
make_video
cat <<END

Your first video: $PWD/$video
Six of its frames: $PWD/$picture
Look at it with any player (mpv, vlc, a browser): xdg-open $video
$shows Put the folder of another model
after --model to change that; ./$bin/framefleet generate --help lists the options.
END
