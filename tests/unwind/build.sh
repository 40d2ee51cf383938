#!/bin/sh
# Makes images/*.sys from shapes.c, support.s and forms.s: the same functions, as the compiler writes them at
# several levels of optimisation. Needs clang and lld 19 (Debian: clang-19 lld-19); the images are kept with
# the sources, so that the tests do not.
set -eu
cd "$(dirname "$0")"
llvm=${LLVM:-/usr/lib/llvm-19/bin}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p images
target="--target=x86_64-pc-windows-msvc"
for part in support forms; do
    "$llvm/clang" $target -c "$part.s" -o "$work/$part.obj"
done
image() {
    name=$1
    shift
    "$llvm/clang" $target -ffreestanding -fasynchronous-unwind-tables -fno-stack-protector -fms-extensions -Wall -Werror -c "$@" \
        shapes.c -o "$work/shapes.obj"
    "$llvm/lld-link" /nologo /subsystem:native /entry:start /nodefaultlib /fixed /base:0xFFFFF80001000000 \
        /timestamp:0 /merge:.xdata=.rdata /export:finished /export:interrupt /export:interrupt_with_error \
        /export:interrupt_version_2 /export:other_stack,DATA /noimplib /dll /out:"images/$name.sys" \
        "$work/shapes.obj" "$work/support.obj" "$work/forms.obj"
}
image O0 -O0
image O1 -O1
image O2 -O2
image Os -Os
image Oz -Oz
image O2-frame-pointers -O2 -fno-omit-frame-pointer
image O2-cold-parts -O2 -mllvm -hot-cold-split=true
image O3 -O3
ls -l images
