!> What the physics of a step made of the state, whoever ran in it: the history fields DTPHYS,
!! DQ1PHYS and so on, which evaluation compares between runs. The ClimSim fork's own diagnostics
!! have fields of these names; a build for its driver leaves them alone.
module mmf_nn_changes
  use cam_history, only: addfld, outfld
  use mmf_nn_blending, only: fields_of
  use mmf_nn_outputs, only: tendency_names, tendency_units
  use physics_types, only: physics_state
  use ppgrid, only: begchunk, endchunk
  use shr_kind_mod, only: r8 => shr_kind_r8
  implicit none (type, external)
  private

  public :: add_changes, note_state, write_changes, change_name

#ifdef CLIMLINK_FORK_HISTORY
  logical, parameter :: others_write_them = .true.
#else
  logical, parameter :: others_write_them = .false.
#endif

  type :: chunk_fields
    real(r8), allocatable :: values(:, :, :)                 !! [column, level, 6]
  end type chunk_fields

  logical :: added = .false.
  type(chunk_fields), allocatable :: before(:)               !! Of the chunks, since note_state.

contains

  !> The field of a tendency: DTPHYS of ptend_t, DQ1PHYS of ptend_q0001.
  pure function change_name(tendency) result(name)
    character(len=*), intent(in) :: tendency
    character(len=:), allocatable :: name
    character(len=1) :: letter
    integer :: i

    name = 'D'
    do i = index(tendency, '_') + 1, len_trim(tendency)
      letter = tendency(i:i)
      if (letter == '0') cycle
      if (letter >= 'a' .and. letter <= 'z') letter = achar(iachar(letter) - 32)
      name = name // letter
    end do
    name = name // 'PHYS'
  end function change_name

  !> Registers the fields.
  subroutine add_changes()
    integer :: i

    if (others_write_them) return
    added = .true.
    do i = 1, size(tendency_names)
      call addfld(change_name(tendency_names(i)), ['lev'], 'A', trim(tendency_units(i)), &
                  'change by the emulated part of the physics')
    end do
  end subroutine add_changes

  !> Notes the state before the physics of a step.
  subroutine note_state(state)
    type(physics_state), intent(in) :: state(begchunk:)
    integer :: c

    if (.not. added) return
    if (.not. allocated(before)) allocate (before(begchunk:endchunk))
    do c = begchunk, endchunk
      before(c)%values = fields_of(state(c))
    end do
  end subroutine note_state

  !> Writes what has changed since note_state.
  subroutine write_changes(state, time_step)
    type(physics_state), intent(in) :: state(begchunk:)
    real(r8), intent(in) :: time_step                        !! [s]
    integer :: c

    if (.not. added) return
    do c = begchunk, endchunk
      call write_chunk((fields_of(state(c)) - before(c)%values) / time_step, c)
    end do
  end subroutine write_changes

  subroutine write_chunk(rate, lchnk)
    real(r8), intent(in) :: rate(:, :, :)                    !! [column, level, 6]
    integer, intent(in) :: lchnk
    integer :: i

    do i = 1, size(tendency_names)
      call outfld(change_name(tendency_names(i)), rate(:, :, i), size(rate, 1), lchnk)
    end do
  end subroutine write_chunk

end module mmf_nn_changes
