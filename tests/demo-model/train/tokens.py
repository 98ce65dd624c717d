"""tokens.py - the ids that the program's tokenizer gives for captions

Unigram segmentation with the pieces and scores of spiece.model. Captions are ASCII and
pieces do not cross spaces, so each word is segmented once and remembered.
"""
import struct

PAD, END = 0, 1
SPACE = "\u2581"


def fields(data):
    """(number, value) of a protobuf message; value is an int or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
        elif kind == 2:
            size = varint()
            yield key >> 3, data[at:at + size]
            at += size
        else:
            size = 4 if kind == 5 else 8
            yield key >> 3, data[at:at + size]
            at += size


class Tokens:
    def __init__(self, path):
        self.pieces = {}
        self.count = 0
        for number, value in fields(open(path, "rb").read()):
            if number != 1:
                continue
            piece = dict(fields(value))
            if piece.get(3, 1) == 1:
                score = struct.unpack("<f", piece[2])[0] if 2 in piece else 0.0
                self.pieces[piece[1].decode()] = (self.count, score)
            self.count += 1
        self.words = {}

    def word(self, text):
        if text not in self.words:
            best = [(0.0, 0, None)] + [(-1e9, 0, None)] * len(text)
            for end in range(1, len(text) + 1):
                for begin in range(end):
                    piece = self.pieces.get(text[begin:end])
                    if piece and best[begin][0] + piece[1] > best[end][0]:
                        best[end] = (best[begin][0] + piece[1], begin, piece[0])
            ids, at = [], len(text)
            while at > 0:
                ids.append(best[at][2])
                at = best[at][1]
            self.words[text] = ids[::-1]
        return self.words[text]

    def ids(self, caption):
        out = []
        for word in caption.split():
            out += self.word(SPACE + word)
        return out + [END]
