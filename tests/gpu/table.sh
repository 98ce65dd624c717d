# table.sh - rows of one table that several scripts fill; source it with $table set
#
#     row NAME FOUND LIMIT              a test: FOUND must be at most LIMIT; "-" for
#                                       LIMIT says nothing; "none" for FOUND fails
#     figure NAME FOUND GOAL BEST       a figure to be small beside the goal and the
#     figure_up NAME FOUND GOAL BEST    best of others (…_up: to be large)
#     table_print                       everything, last; 1 if a test failed
#     json KEY FILE [NTH]               the first (or another) number of that name
#     within SECONDS                    of them, what is left until $DEADLINE (seconds
#                                       since 1970): no step outlives its script

row()
{
    local said

    said=$(awk -v f="$2" -v l="$3" 'BEGIN {
        print l == "-" ? "" : f != "none" && f + 0 <= l + 0 ? "ok" : "FAILED" }')
    printf '%-58s %12s %10s %10s  %s\n' "$1" "$2" "$3" "" "$said" >>"$table"
}

# figure_of SIGN NAME FOUND GOAL BEST
figure_of()
{
    local said

    said=$(awk -v s="$1" -v f="$3" -v g="$4" -v b="$5" 'BEGIN {
        if (f == "none") print "not measured"
        else if (g != "-" && s * f <= s * g) print "goal reached"
        else if (b != "-" && s * f <= s * b)
            print "better than others" (g == "-" ? "" : ", short of the goal")
        else if (g != "-") print "short" }')
    printf '%-58s %12s %10s %10s  %s\n' "$2" "$3" "$4" "$5" "$said" >>"$table"
}

figure()
{
    figure_of 1 "$@"
}

figure_up()
{
    figure_of -1 "$@"
}

table_print()
{
    printf '\n%-58s %12s %10s %10s\n' "what" "found" "limit/goal" "others"
    sed "s/ *$//" "$table"
    ! grep -q 'FAILED$' "$table"
}

json()
{
    sed -n "s/^.*\"$1\": \([-0-9.e+]*\).*/\1/p" "$2" 2>/dev/null | sed -n "${3:-1}p"
}

# gib KEY FILE
gib()
{
    json "$1" "$2" | awk '{ printf "%.2f", $1 / 2^30; n++ } END { if (!n) print "none" }'
}

# seconds FILE [NTH]: of the first, second … part in it
seconds()
{
    local s

    s=$(json median_seconds "$1" "${2:-1}")
    [ -n "$s" ] && printf %.3f "$s" || echo none
}

within()
{
    local left=$((${DEADLINE:-9999999999} - $(date +%s)))

    [ $left -gt 0 ] || left=1
    echo $((left < $1 ? left : $1))
}
