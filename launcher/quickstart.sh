#!/usr/bin/env bash
# quickstart.sh - from a fresh clone to a first video, on any machine, with one command
#
# Installs what is missing, builds the program for the CPU (and for CUDA if its compiler
# is here), makes the small random demonstration model and generates demo.mp4 with it. A
# second run finds everything done and only says where the video is.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=build/cpu/bin
model=build/demo-model
video=demo.mp4

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

# The model is made anew only when the program that makes it has changed.
make_model()
{
    if [ "$model/made" -nt "$bin/make_demo_model" ]; then
        return
    fi
    rm -rf "$model"
    "$bin/make_demo_model" "$model"
    touch "$model/made"
}

# The video is made anew only when the program or the model has changed.
make_video()
{
    if [ "$video" -nt "$bin/framefleet" ] && [ "$video" -nt "$model/made" ]; then
        return
    fi
    "$bin/framefleet" generate --model "$model" --output "$video" --force \
        --prompt "a small boat on a calm lake at sunrise" \
        --size 128x128 --num_frames 17 --inference_steps 8 --seed 7
}

build
make_model
make_video
cat <<END

Your first video: $PWD/$video
Look at it with any player (mpv, vlc, a browser): xdg-open $video
The demonstration model is random: the video shows moving colours, not a boat. Put a
real model's folder after --model to change that; ./$bin/framefleet generate --help
lists the options.
END
