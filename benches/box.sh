# Starts a box of its own for whoever sources this, over an empty folder that goes with it; BOX is where it listens.
BOX=http://127.0.0.1:8439
FOLDER=$(mktemp -d)
trap 'kill $! 2>/dev/null; rm -rf "$FOLDER"' EXIT
ln -s "$PWD/data/models" "$FOLDER/models"
target/release/membox --data-dir "$FOLDER" serve --listen 127.0.0.1:8439 &
for _ in $(seq 100); do
  curl -sf "$BOX/ready" >/dev/null && break
  sleep 0.1
done
