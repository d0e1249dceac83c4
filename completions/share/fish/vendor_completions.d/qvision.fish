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
            set lines (complete -C "'' $value" | string match -rei -- '(?:/|\.(?:apng|avif|avifs|bmp|dib|gif|heic|heics|heif|heifs|hif|icb|ico|insp|j2c|j2k|jfi|jfif|jif|jp2|jpc|jpe|jpeg|jpf|jpg|jps|jpx|mpo|pbm|pdf|pfm|pgm|pjp|pjpeg|pjpg|png|pnm|ppm|qoi|tga|tif|tiff|vda|vst|webp))(?:\t.*)?$')
    end
    for line in $lines
        echo -- $prefix$line
    end
end

complete --command qvision --no-files --arguments '(__qvision_complete)'
