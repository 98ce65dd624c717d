#!/usr/bin/env bash
# sheet.sh - contact sheets of videos
. "$(dirname "$0")/lib.sh"

G=(generate "${BASE[@]}")
makes "${G[@]}" --output v.y4m

if "$FF" sheet v.y4m 2>&1 | grep -q "not built"; then
    skip "contact sheets" "FFmpeg is not in this build"
    done_testing
fi

is "five in a row" "$("$PROBE" frames v.y4m.png | cut -d' ' -f1)" 240x16
makes sheet v.y4m a.png --columns 3 --rows 2 --shrink 2
is "two rows, half as large" "$("$PROBE" frames a.png | cut -d' ' -f1)" 72x16
makes sheet v.y4m a.png --columns 2 --force
is "--force" "$("$PROBE" frames a.png | cut -d' ' -f1)" 96x16

# Frames of the sheet are those of the video: of five, three show 0, 2 and 4.
makes "${G[@]}" --output frames
makes sheet v.y4m one.png --columns 1
makes compare one.png frames/frame_000000.png --min_psnr 40
makes sheet v.y4m three.png --columns 1 --rows 3
makes sheet frames/frame_000004.png last.png --columns 1
is "one frame" "$("$PROBE" frames last.png | cut -d' ' -f1)" 48x16
is "three rows" "$("$PROBE" frames three.png | cut -d' ' -f1)" 48x48
makes "${G[@]}" --output v.mp4
makes sheet v.mp4
is "mp4" "$("$PROBE" frames v.mp4.png | cut -d' ' -f1)" 240x16

printf 'YUV4MPEG2 W16 H16 F16:1 C444\n' >empty.y4m
table <<'END'
no video               | 2 | sheet                                | say what to show
two pictures           | 2 | sheet v.y4m b.png c.png              | say what to show
a picture is there     | 2 | sheet v.y4m a.png                    | a.png
not there              | 3 | sheet none.y4m                       | none.y4m
not a video            | 3 | sheet a.png.txt                      | a.png.txt
no frames              | 3 | sheet empty.y4m                      | shorter than a frame
too large              | 2 | sheet v.y4m b.png --columns 999      | cannot lay out
columns                | 2 | sheet v.y4m b.png --columns 0        | columns
END
done_testing
