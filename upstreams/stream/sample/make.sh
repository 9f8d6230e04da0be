#!/bin/sh
# Makes the sample that the stream service loops: twelve seconds of colour bars with a running
# clock, a sweeping marker and a tone that beeps on every second, in two renditions of six
# two-second MPEG-TS segments. Needs ffmpeg with libx264 and the DejaVu fonts.
#
#   ./make.sh        writes 360p/0.ts … 5.ts and 180p/0.ts … 5.ts beside this script
#
# Every segment begins with a key frame and carries its own PAT, PMT, SPS and PPS, so a player may
# begin at any of them. No B-frames: presentation order is decoding order, and a segment lasts
# exactly two seconds by either clock. Threads are pinned to one, so a second run makes the same
# pictures. One muxer writes all six segments, so the packet counters run on across them, and the
# first segment says in its packets that a new turn begins.
set -eu
cd "$(dirname "$0")"

SECONDS_TOTAL=12
SEGMENT_SECONDS=2
FRAMES_PER_SECOND=25
FONT=/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf

rendition() { # name width height video_kbps audio_kbps
  name=$1 width=$2 height=$3 video_kbps=$4 audio_kbps=$5
  rm -rf "$name" && mkdir "$name"
  clock="drawtext=fontfile=$FONT:fontcolor=white:box=1:boxcolor=black@0.8:boxborderw=8"
  ffmpeg -hide_banner -loglevel error -y \
    -f lavfi -i "smptehdbars=size=${width}x${height}:rate=$FRAMES_PER_SECOND" \
    -f lavfi -i "sine=frequency=440:beep_factor=2:sample_rate=48000" \
    -vf "$clock:fontsize=h/6:x=(w-tw)/2:y=h/5:text='%{pts\\:hms}',\
$clock:fontsize=h/14:x=(w-tw)/2:y=h/2:text='streamgate  $name  frame %{n}',\
drawbox=x=0:y=ih*0.92:w=iw:h=ih*0.08:color=black:t=fill,\
drawtext=fontfile=$FONT:fontcolor=white:fontsize=h/12:text='|':x='mod(t,$SEGMENT_SECONDS)/$SEGMENT_SECONDS*w':y=h*0.92" \
    -filter:a "volume=0.25" \
    -t "$SECONDS_TOTAL" \
    -c:v libx264 -profile:v main -preset veryslow -tune animation -bf 0 -threads 1 \
    -pix_fmt yuv420p -b:v "${video_kbps}k" -maxrate "${video_kbps}k" -bufsize "${video_kbps}k" \
    -g $((FRAMES_PER_SECOND * SEGMENT_SECONDS)) -keyint_min $((FRAMES_PER_SECOND * SEGMENT_SECONDS)) \
    -sc_threshold 0 \
    -c:a aac -b:a "${audio_kbps}k" -ac 1 \
    -fflags +bitexact -flags:v +bitexact -flags:a +bitexact \
    -muxpreload 0 -muxdelay 0 -hls_segment_options mpegts_flags=+initial_discontinuity \
    -f hls -hls_time "$SEGMENT_SECONDS" -hls_list_size 0 -hls_playlist_type vod \
    -hls_segment_filename "$name/%d.ts" "$name/index.m3u8"
  grep '#EXTINF' "$name/index.m3u8"
  rm "$name/index.m3u8"
}

rendition 360p 640 360 340 48
rendition 180p 320 180 120 32
du -cb 360p/*.ts 180p/*.ts | tail -1
