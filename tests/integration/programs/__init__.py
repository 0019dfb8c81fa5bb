"""What tests of this folder start as processes of their own."""
