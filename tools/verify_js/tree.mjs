// RFC 6962 Merkle tree, its right edge only.
import { sha256 } from "./ed25519.mjs";

const NODE = Buffer.of(1);

export class Frontier {
  size = 0;
  edge = [];

  append(leaf) {
    let node = leaf;
    for (let size = this.size; size % 2 === 1; size = (size - 1) / 2) node = sha256(NODE, this.edge.pop(), node);
    this.edge.push(node);
    this.size += 1;
  }

  root() {
    if (this.edge.length === 0) return sha256();
    return this.edge.reduceRight((right, left) => sha256(NODE, left, right));
  }
}
