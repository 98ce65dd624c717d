#!/usr/bin/env bash
# quickstart.sh - from a fresh clone to a first video, on any machine, with one command
#
# Installs what is missing, builds the program for the CPU and generates demo.mp4 on two
# ranks with the demonstration model that comes with the project; demo.png shows frames of
# it. Then it builds for CUDA if that compiler is here. A second run finds everything done
# and only says where the video is.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=build/cpu/bin
model=tests/demo-model/trained
video=demo.mp4
picture=demo.png
prompt="a large red star moving quickly to the right"
prompt+=" and a medium yellow circle shrinking, navy background"

build()
{
    ./launcher/setup.sh
    cmake --preset cpu
    cmake --build --preset cpu --parallel "$(nproc)" --target framefleet
}

# After the video, since CUDA's compiler takes its time.
build_gpu()
{
    if ./launcher/have_cuda.sh; then
        echo "Building for CUDA too: build/gpu/bin/framefleet"
        cmake --preset gpu
        cmake --build --preset gpu --parallel "$(nproc)" --target framefleet
    fi
}

# The video is made anew only when the program or the model has changed.
make_video()
{
    local ranks=(mpirun -q -n 2 --oversubscribe --bind-to none)
    local threads=$((($(nproc) + 1) / 2))

    if [ "$picture" -nt "$bin/framefleet" ] && [ "$picture" -nt "$model/config.json" ]; then
        return
    fi
    [ "$(id -u)" -ne 0 ] || ranks+=(--allow-run-as-root)
    "${ranks[@]}" "$bin/framefleet" generate --model "$model" --output "$video" --force \
        --prompt "$prompt" --negative_prompt "" --size 128x128 --num_frames 33 --fps 16 \
        --inference_steps 30 --guidance_scale 4 --shift 3 --seed 1 --threads "$threads"
    "$bin/framefleet" sheet "$video" "$picture" --columns 6 --force
}

build
make_video
cat <<END

Your first video: $PWD/$video
Six of its frames: $PWD/$picture
Look at it with any player (mpv, vlc, a browser): xdg-open $video
It shows what its prompt says: $prompt.
What else this model knows is in $model/README.md. Put the folder of another model
after --model to go on; ./$bin/framefleet generate --help lists the options.
END
build_gpu
