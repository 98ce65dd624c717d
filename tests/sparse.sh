# sparse.sh - weights of any size that take no room on a disk, for shell tests and benches
#
#     sparse_weights FILE PROGRAM [-v NAME=VALUE...]
#
# FILE becomes a safetensors file of zeros in bf16. PROGRAM is awk's, with -v as awk has
# it: in BEGIN it calls tensor("name", "2,3") for each tensor. Prints the bytes of data.
sparse_weights()
{
    local file=$1 program=$2 header bytes length

    shift 2
    {
        read -r header
        read -r bytes
    } < <(awk "$@" '
        function tensor(name, shape,    n, i, part, bytes)
        {
            n = split(shape, part, ",")
            bytes = 2
            for (i = 1; i <= n; i++)
                bytes *= part[i]
            printf "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%.0f,%.0f]}",
                at ? "," : "{", name, shape, at, at + bytes
            at += bytes
        }
        '"$program"'
        BEGIN { printf "}\n%.0f\n", at }')
    length=${#header}
    printf "$(printf '\\x%02x' $((length & 255)) $((length >> 8 & 255)) \
        $((length >> 16 & 255)) 0 0 0 0 0)" >"$file"
    printf %s "$header" >>"$file"
    truncate -s $((8 + length + bytes)) "$file"
    echo "$bytes"
}
