# Stands beside a process that has put up a stack for itself. However that process ends, standard
# input closes; then the servers recorded in $1/run are ended and the folder $1 is removed.
# Postgres is told to quit at once, since a kill would leave its shared memory behind.
dir=$1
cat >/dev/null

runs() {
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    rest=${stat##*) }
    # shellcheck disable=SC2086 # The fields are meant to be split.
    set -- "$2" $rest
    [ "$2" != Z ] && [ "${21}" = "$1" ]
}

end_all() {
    left=
    for file in "$dir"/run/*.pid; do
        [ -f "$file" ] && read -r pid started <"$file" && runs "$pid" "$started" || continue
        left=yes
        case $file in
            */postgres.pid) kill -QUIT "$pid" ;;
            *) kill -KILL "$pid" ;;
        esac
    done
    [ -z "$left" ]
}

# A server that was killed by someone else has noted its memory, but cannot give it back.
release_memory() {
    noted=$(sed -n 7p "$dir/postgres/data/postmaster.pid" 2>/dev/null)
    [ -z "$noted" ] || ipcrm -m "${noted##* }" 2>/dev/null || true
}

round=0
until end_all && release_memory && rm -rf "$dir" && [ ! -e "$dir" ]; do
    round=$((round + 1))
    [ "$round" -lt 300 ] || exit 1
    sleep 0.1
done 2>/dev/null
