function __qvision_complete
    set -l token (commandline -ct)
    set -l prefix (string match -r -- '^--[^=]+=' $token | string collect --allow-empty)
    set -l value (string replace -r -- '^--[^=]+=' '' $token)
    set -l lines (env _QVISION_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \
        _TYPER_COMPLETE_ARGS=(commandline -cp | string collect) qvision)
    switch "$lines[1]"
        case '*:complete-files'
            set lines (complete -C "'' $value")
        case '*:complete-images'
            set lines (complete -C "'' $value" | string match -rei -- '(?:/|\.(?:p?jpe?g|pjp|jpe|jfif?|jif|jps|insp|mpo|a?png|gif|webp|avifs?|hei[cf]s?|hif|bmp|dib|ico|jp[2fx]|j2[ck]|jpc|p[bfgnp]m|qoi|tga|icb|vda|vst|pdf|tiff?))(?:\t.*)?$')
    end
    for line in $lines
        echo -- $prefix$line
    end
end

complete --command qvision --no-files --arguments '(__qvision_complete)'
