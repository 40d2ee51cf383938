#!/bin/sh
# Builds the PDBs that tests read, with clang and lld (LLVM 19), and packs them. The products are in the repository:
# this is needed only when a source changes. `build.sh FOLDER` leaves them unpacked in FOLDER instead.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
llvm=${LLVM:-/usr/lib/llvm-19/bin}
to=${1:-$(mktemp -d)}
mkdir -p "$to"

# many.c: thousands of public functions, and a structure and an enumeration whose field lists take several records.
awk 'BEGIN {
    print "struct _WIDE {"
    for (i = 0; i < 6000; i++) printf "    %s Member_with_a_long_name_%04d;\n", i % 3 ? "int" : "char", i
    print "};\nenum wide {"
    for (i = 0; i < 6000; i++) printf "    Value_with_a_long_name_%04d = %d,\n", i, i * 7
    print "};\nstruct _WIDE Wide; enum wide Values;"
    for (i = 0; i < 5000; i++) printf "int Function%04d(int x) { return x * %d; }\n", i, i
    print "int Start(void) { return Wide.Member_with_a_long_name_5999 + (int)Values; }"
}' > "$to/many.c"

build() {
    source=$1 name=$2
    shift 2
    "$llvm/clang" -target x86_64-pc-windows-msvc -g -gcodeview -O1 -ffreestanding -fms-extensions -fno-exceptions \
        -fno-rtti -fstandalone-debug -mno-implicit-float -fdebug-compilation-dir=. -gno-codeview-command-line \
        -Xclang "-object-file-name=$name.obj" -c "$source" -o "$name.obj"
    "$llvm/lld-link" /nologo /entry:Start /subsystem:native /driver /nodefaultlib /opt:noref /debug /brepro \
        '/pdbsourcepath:C:\build' "/pdb:$name.pdb" "/out:$name.sys" "$@" "$name.obj"
}

cp "$here/layouts.c" "$here/classes.cpp" "$to"
cd "$to"
build layouts.c layouts '/pdbaltpath:C:\build\layouts.pdb'
build classes.cpp classes /pdbaltpath:classes.pdb
build many.c many /pdbaltpath:many.pdb /pdbpagesize:8192

if [ $# -eq 0 ]; then
    for product in layouts.pdb layouts.sys classes.pdb many.pdb; do
        xz -9e -c "$to/$product" > "$here/$product.xz"
    done
    rm -r "$to"
fi
