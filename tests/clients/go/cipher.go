package main

import (
	"bytes"
	"crypto/aes"
	stdcipher "crypto/cipher"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"imclient/sessionpb"
)

// frameCipher is AES-256-CBC with the session's key and IV; a nil one leaves frames as they are.
type frameCipher struct {
	block stdcipher.Block
	iv    []byte
}

// newFrameCipher makes up a key and an IV, and puts what the gateway needs to know into params.
func newFrameCipher(publicKeyFile string, params *sessionpb.SetCxnParamsReq) (*frameCipher, error) {
	publicKey, err := readPublicKey(publicKeyFile)
	if err != nil {
		return nil, err
	}
	keySeed, ivSeed := randomString(), randomString()
	if params.AesKey, err = rsa.EncryptPKCS1v15(rand.Reader, publicKey, []byte(keySeed)); err != nil {
		return nil, err
	}
	if params.AesIv, err = rsa.EncryptPKCS1v15(rand.Reader, publicKey, []byte(ivSeed)); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher([]byte(md5Hex(keySeed)))
	if err != nil {
		return nil, err
	}
	return &frameCipher{block, []byte(md5Hex(ivSeed))[8:24]}, nil
}

func readPublicKey(file string) (*rsa.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM", file)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	publicKey, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s: not an RSA key", file)
	}
	return publicKey, nil
}

func randomString() string {
	seed := make([]byte, 16)
	if _, err := rand.Read(seed); err != nil {
		panic(err)
	}
	return hex.EncodeToString(seed)
}

func md5Hex(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (c *frameCipher) seal(plain []byte) []byte {
	if c == nil {
		return plain
	}
	padding := aes.BlockSize - len(plain)%aes.BlockSize
	padded := append(append([]byte{}, plain...), bytes.Repeat([]byte{byte(padding)}, padding)...)
	stdcipher.NewCBCEncrypter(c.block, c.iv).CryptBlocks(padded, padded)
	return padded
}

func (c *frameCipher) open(sealed []byte) ([]byte, error) {
	if c == nil {
		return sealed, nil
	}
	if len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return nil, errors.New("not whole blocks")
	}
	plain := make([]byte, len(sealed))
	stdcipher.NewCBCDecrypter(c.block, c.iv).CryptBlocks(plain, sealed)
	padding := int(plain[len(plain)-1])
	if padding == 0 || padding > aes.BlockSize {
		return nil, errors.New("bad padding")
	}
	for _, b := range plain[len(plain)-padding:] {
		if int(b) != padding {
			return nil, errors.New("bad padding")
		}
	}
	return plain[:len(plain)-padding], nil
}
